"""libvirt's XML of domains: every element that its Xen driver reads or writes.

`loads` reads what ``virsh dumpxml`` prints, `dumps` writes what ``virsh define`` takes, `patch` changes a document that
exists and leaves the rest of it alone. Where libvirt contradicts xl, xl is right: `CONTRADICTIONS` lists the cases.
What libvirt adds by itself is in `ADDED`, and is no loss.
"""

from __future__ import annotations

import os
from typing import Final

from pyxen.config import DomainConfig
from pyxen.errors import ParseError
from pyxen.libvirtxml import document
from pyxen.libvirtxml.contradictions import CONTRADICTIONS, Contradiction
from pyxen.libvirtxml.indentation import write_out
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.normalize import normal
from pyxen.libvirtxml.patcher import carry_over
from pyxen.libvirtxml.roundtrip_loss import differences
from pyxen.libvirtxml.source import Source
from pyxen.libvirtxml.text import MAX_SIZE, decoded, parse, parse_tree, serialise, to_node
from pyxen.libvirtxml.unread import ADDED, Added
from pyxen.losses import Loss, OnLoss, report

__all__ = [
    "ADDED",
    "CONTRADICTIONS",
    "MAX_SIZE",
    "Added",
    "Contradiction",
    "dump",
    "dumps",
    "load",
    "loads",
    "losses",
    "normal",
    "patch",
]


def loads(text: str | bytes, *, on_loss: OnLoss = "raise", source: str | None = None) -> DomainConfig:
    """Read the XML of a domain, of whatever type.

    Args:
        text: The document; bytes in the encoding that it claims.
        on_loss: What to do about what the model cannot hold: ``"raise"``, ``"warn"`` or ``"ignore"``.
        source: Name of the file, for messages.

    Returns:
        The configuration.

    Raises:
        ParseError: It is no XML, no domain, or says something that cannot be; with the line.
        LossyConversion: The model cannot hold all of it, and ``on_loss`` is ``"raise"``.
    """
    try:
        found = document.read(parse(text, source))
        config = found.config()
    except ParseError as error:
        error.source = source
        raise
    report(found.losses, on_loss, source)
    return config


def dumps(config: DomainConfig, *, domain_type: str = "xen", on_loss: OnLoss = "raise") -> str:
    """Write the XML of a domain.

    What XML has to say and the configuration leaves open is said as libxl would have it: see `normal`.

    Args:
        config: The configuration.
        domain_type: The driver it is for: ``xen``, or ``test``, ``kvm``, ``qemu`` …
        on_loss: What to do about what XML cannot say: ``"raise"``, ``"warn"`` or ``"ignore"``.

    Returns:
        The document, indented by two.

    Raises:
        LossyConversion: XML cannot say all of it, and ``on_loss`` is ``"raise"``.
    """
    tree = document.write(config, domain_type)
    text = serialise(tree)
    if on_loss != "ignore":
        report(_lost(config, tree, domain_type), on_loss)
    return text


def losses(config: DomainConfig, *, domain_type: str = "xen") -> tuple[Loss, ...]:
    """Return what `dumps` would lose of a configuration."""
    return _lost(config, document.write(config, domain_type), domain_type)


def _lost(config: DomainConfig, tree: Node, domain_type: str) -> tuple[Loss, ...]:
    said = document.read(tree).config()
    return differences(config, said, is_xen=document.has_xen_words(domain_type))


def load(path: str | os.PathLike[str], *, on_loss: OnLoss = "raise") -> DomainConfig:
    """Read a configuration from a file; arguments and errors as `loads`, and `OSError`."""
    with open(path, "rb") as file:
        return loads(file.read(MAX_SIZE + 1), on_loss=on_loss, source=os.fspath(path))


def dump(
    config: DomainConfig, path: str | os.PathLike[str], *, domain_type: str = "xen", on_loss: OnLoss = "raise"
) -> None:
    """Write a configuration to a file; arguments and errors as `dumps`, and `OSError`."""
    text = dumps(config, domain_type=domain_type, on_loss=on_loss)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def patch(text: str | bytes, config: DomainConfig, *, on_loss: OnLoss = "raise", source: str | None = None) -> str:
    """Change a document so that it says a configuration, and only what differs.

    Comments, metadata, unknown elements and blanks stay as they are; so do devices that pyxen does not know.

    Args:
        text: The document.
        config: What it is to say.
        on_loss: What to do about what XML cannot say: ``"raise"``, ``"warn"`` or ``"ignore"``.
        source: Name of the file, for messages.

    Returns:
        The document, changed.

    Raises:
        ParseError: ``text`` is no XML, or no domain.
        LossyConversion: XML cannot say all of it, and ``on_loss`` is ``"raise"``.
    """
    root = parse_tree(text, source)
    domain_type = root.get("type") or document.XEN
    written = Source(text if isinstance(text, str) else decoded(text, root), root)
    after = document.write(config, domain_type)
    try:
        for _ in range(_PASSES):
            before = document.write(document.read(to_node(root)).config(), domain_type)
            if not carry_over(root, before, after):
                break
        said = document.read(to_node(root)).config()
    except ParseError as error:
        error.source = source
        raise
    report(differences(config, said, is_xen=document.has_xen_words(domain_type)), on_loss, source)
    return write_out(root, written)


_PASSES: Final = 3
"""One is enough, but where an element that goes changes what the lack of another means."""
