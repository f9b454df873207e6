"""A target that restores or receives domains on a pretended host (tests/offhost), in a process of its own.

``python -m tests.fuzz.offhost RELEASE TARGET CORPUS [libFuzzer's arguments]``, by the release's interpreter, and with
gcc's sanitizer of addresses and the stub preloaded. libxl runs in this very process, so what ends libxl ends the
fuzzing, and libFuzzer writes the input down. The same happens when libxl writes beyond what it has allocated.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["pyxen"], enable_loader_override=False):
    import pyxen
    from pyxen import DomainConfig, Host
    from tests.offhost import kernel
    from tests.offhost.host import OffHost
    from tests.offhost.internals import use_extension
    from tests.offhost.setup import release

from tests.fuzz.saved import with_few_pages

__all__ = ["TARGETS"]

_PATIENCE: Final = 20.0
"""The deadline of a restore, in seconds. It takes some milliseconds."""
_GO: Final = b"domain is yours, you are cleared to unpause\0"


def _restore(host: Host, path: Path, data: bytes) -> None:
    """Restore a file."""
    path.write_bytes(data)
    host.restore(path, timeout=_PATIENCE).destroy()


def _receive(host: Host, path: Path, data: bytes) -> None:  # noqa: ARG001 (both have the same arguments)
    """Receive a migration from a sender who has said all at once."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        with suppress(BlockingIOError):
            here.send(data)
        here.shutdown(socket.SHUT_WR)
        host.receive_migration(there.fileno(), there.fileno(), timeout=_PATIENCE).destroy()


TARGETS: Final[dict[str, Callable[[Host, Path, bytes], None]]] = {"restore": _restore, "receive": _receive}


def _seeds(offhost: OffHost, host: Host, folder: Path) -> list[bytes]:
    """Return saved guests, with and without what a sender says at the end of a migration."""
    (folder / "kernel").write_bytes(kernel.pvh())
    domain = host.create(DomainConfig(name="web", type="pvh", kernel=str(folder / "kernel"), memory=8, shadow_memory=1))
    offhost.guest(domain.domid).obey()
    domain.save(folder / "saved", timeout=_PATIENCE)
    data = with_few_pages((folder / "saved").read_bytes(), most=1)
    return [data, data + _GO]


def main() -> None:
    """Fuzz; libFuzzer ends the process, and who began it ends the host's programs."""
    name, target, corpus, *arguments = sys.argv[1:]
    assert "libasan" in Path("/proc/self/maps").read_text(), "the sanitizer of addresses is not preloaded"
    found = release(name)
    sys.executable = str(found.python)
    use_extension(found)
    offhost = OffHost(found).start()
    host = pyxen.connect("xenlight:///", workers=0)
    folder = offhost.folder
    for number, seed in enumerate(_seeds(offhost, host, folder)):
        Path(corpus, f"seed-{number}").write_bytes(seed)
    call = TARGETS[target]

    def one(data: bytes) -> None:
        descriptors = len(os.listdir("/proc/self/fd"))
        with suppress(pyxen.Error):
            call(host, folder / "fuzzed", data)
        left = offhost.left()
        assert not left, f"left: {left}"
        # libxl keeps a few for its next operations.
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 2, "descriptors are left open"

    one(b"")
    atheris.Setup([sys.argv[0], *arguments, corpus], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
