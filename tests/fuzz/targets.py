"""The functions that are fuzzed. Each takes any bytes; nothing but pyxen's own errors may come out of what it calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pyxen import DomainConfig, Vif, libvirtxml, libxljson, xlcfg
from pyxen._common import savefile
from pyxen.backends.xenlight.migration.remus_stream import CheckpointedStream
from pyxen.backends.xenlight.operations import stream_header
from pyxen.errors import ConfigError, ParseError
from tests.fuzz import remote

__all__ = ["TARGETS", "Target"]

Target = Callable[[bytes], None]

_OTHER: Final = DomainConfig(
    name="web2", type="pvh", kernel="/boot/vmlinuz", memory=256, vcpus=2, vifs=[Vif(bridge="xenbr0")]
)
"""What a document is changed into."""


def xl_configuration(data: bytes) -> None:
    """Read an xl configuration, and edit it."""
    with suppress(ConfigError):
        xlcfg.loads(data, on_loss="ignore")
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ConfigError):
        document = xlcfg.parse(text)
        assert str(document) == text, "a document that was not changed is written with changes"


def linted_xl_configuration(data: bytes) -> None:
    """Look through an xl configuration for mistakes."""
    with suppress(ConfigError):
        xlcfg.lint(data)


def xml_document(data: bytes) -> None:
    """Read a libvirt document."""
    with suppress(ConfigError):
        libvirtxml.loads(data, on_loss="ignore")


def patched_xml_document(data: bytes) -> None:
    """Change a libvirt document."""
    with suppress(ConfigError):
        libvirtxml.patch(data, _OTHER, on_loss="ignore")


def libxl_json(data: bytes) -> None:
    """Read libxl's JSON of a domain, or of a list of domains."""
    with suppress(ConfigError):
        libxljson.loads_list(data, on_loss="ignore")
    with suppress(ConfigError):
        libxljson.loads(data, on_loss="ignore")


def conversion(data: bytes) -> None:
    """Write what an xl configuration, or a libvirt document, says in all three formats, and tell what is lost."""
    read: Callable[..., DomainConfig] = libvirtxml.loads if data[:1] == b"<" else xlcfg.loads
    try:
        config = read(data, on_loss="ignore")
    except ConfigError:
        return
    for codec in (xlcfg, libvirtxml, libxljson):
        with suppress(ConfigError):
            codec.dumps(config, on_loss="ignore")
        with suppress(ConfigError):
            codec.losses(config)


def saved_head(data: bytes) -> None:
    """Read the head of a saved file and the beginning of libxl's stream behind it."""
    fd = os.memfd_create("saved")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        with suppress(ParseError):
            savefile.read(fd, "fuzzed")
            stream_header.check(stream_header.peek(fd), "fuzzed")
    finally:
        os.close(fd)


def replicated_stream(data: bytes) -> None:
    """Follow the stream of a replicated domain, and call it off; in one piece and in small ones."""
    whole, pieces = CheckpointedStream(), CheckpointedStream()
    whole.feed(data)
    for at in range(0, len(data), 3):
        pieces.feed(data[at : at + 3])
    assert vars(whole) == vars(pieces), "the size of the pieces matters"
    if whole._skip < 1 << 20:  # to call it off is to send the rest of the record, which may be 4 GiB
        assert whole.calling_off() == pieces.calling_off(), "the size of the pieces matters"


def received_configuration(data: bytes) -> None:
    """Check the configuration of a domain that somebody has sent. This needs the extension, as does `restore`."""
    from pyxen.backends.xenlight.libxl.received_json import read

    with suppress(ConfigError):
        read(data, "fuzzed")


TARGETS: Final[dict[str, Target]] = {
    "xlcfg": xl_configuration,
    "xlcfg-lint": linted_xl_configuration,
    "libvirtxml": xml_document,
    "libvirtxml-patch": patched_xml_document,
    "libxljson": libxl_json,
    "conversion": conversion,
    "savefile": saved_head,
    "remus-stream": replicated_stream,
    "received-json": received_configuration,
    "remote-call": remote.call,
    "remote-client": remote.from_client,
    "remote-server": remote.from_server,
}
"""What can be fuzzed in any process."""
