"""libvirt's domain XML, with every element that its Xen driver reads or writes.

`loads` reads the output of ``virsh dumpxml``. `dumps` writes input for ``virsh define``. `patch` changes an existing
document and leaves the rest of it alone. Where libvirt contradicts xl, pyxen follows xl: `CONTRADICTIONS` lists the
cases. `ADDED` lists the elements that libvirt adds on its own; they do not count as losses.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

from lxml import etree

from pyxen._common.whole_file import write_whole
from pyxen.config import DomainConfig
from pyxen.config.base import fields_of
from pyxen.errors import ParseError
from pyxen.libvirtxml import document, graphics
from pyxen.libvirtxml.contradictions import CONTRADICTIONS, Contradiction
from pyxen.libvirtxml.indentation import write_out
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.normalize import normal
from pyxen.libvirtxml.patcher import carry_over
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.roundtrip_loss import differences
from pyxen.libvirtxml.source import Source
from pyxen.libvirtxml.text import MAX_SIZE, decoded, parse, parse_tree, serialise, to_node
from pyxen.libvirtxml.unread import ADDED, Added, report_leftovers
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
    """Read the XML of a domain, for any of libvirt's drivers.

    Args:
        text: The document; bytes are decoded as its XML declaration says.
        on_loss: What to do if the model cannot hold everything: ``"raise"``, ``"warn"`` or ``"ignore"``.
        source: Name of the file, for errors.

    Returns:
        The configuration.

    Raises:
        ParseError: The text is not XML, is not a domain, or has an invalid value. The error has the line.
        LossyConversion: The model cannot hold all of it, and ``on_loss`` is ``"raise"``.
    """
    try:
        tree = parse(text, source)
        found = document.read(tree)
        report_leftovers(tree, found)
        config = found.config()
    except ParseError as error:
        error.source = source
        raise
    report(found.losses, on_loss, source)
    return config


def dumps(config: DomainConfig, *, domain_type: str = "xen", on_loss: OnLoss = "raise") -> str:
    """Write the XML of a domain.

    Settings that XML requires and the configuration leaves open are written with libxl's defaults: see `normal`.

    Args:
        config: The configuration.
        domain_type: The libvirt driver that the document is for: ``xen``, or ``test``, ``kvm``, ``qemu`` …
        on_loss: What to do if XML cannot express everything: ``"raise"``, ``"warn"`` or ``"ignore"``. If all that is
            lost is a VNC server that is on only because nothing is said of it, ``"raise"`` warns, too.

    Returns:
        The document, indented by two.

    Raises:
        LossyConversion: XML cannot express all of it, and ``on_loss`` is ``"raise"``.
    """
    tree = document.write(config, domain_type)
    text = serialise(tree)
    if on_loss != "ignore":
        _report(_lost(config, tree, domain_type), config, on_loss)
    return text


def losses(config: DomainConfig, *, domain_type: str = "xen") -> tuple[Loss, ...]:
    """Return the parts of a configuration that `dumps` would lose."""
    return _lost(config, document.write(config, domain_type), domain_type)


def _lost(config: DomainConfig, tree: Node, domain_type: str) -> tuple[Loss, ...]:
    found = document.read(tree)
    is_xen = document.has_xen_words(domain_type)
    if is_xen and not found.differing(config):
        return ()
    return differences(config, found.config(), is_xen=is_xen)


def _report(found: tuple[Loss, ...], config: DomainConfig, on_loss: OnLoss, source: str | None = None) -> None:
    """Handle losses: nobody who asked for SPICE alone is refused because libxl would open a VNC server beside it."""
    if on_loss == "raise" and not any(graphics.was_asked_for(loss, config) for loss in found):
        on_loss = "warn"
    report(found, on_loss, source)


def load(path: str | os.PathLike[str], *, on_loss: OnLoss = "raise") -> DomainConfig:
    """Read a configuration from a file. Arguments are those of `loads`.

    Raises:
        OSError: The file cannot be read. This is Python's own, `FileNotFoundError` and the like, and no `pyxen.Error`.
        ConfigError: As `loads`.
    """
    with open(path, "rb") as file:
        return loads(file.read(MAX_SIZE + 1), on_loss=on_loss, source=os.fspath(path))


def dump(
    config: DomainConfig, path: str | os.PathLike[str], *, domain_type: str = "xen", on_loss: OnLoss = "raise"
) -> None:
    """Write a configuration to a file. Arguments and errors are as of `dumps`, and `OSError`.

    The file takes the place of an older one when it is complete, with the mode, the owner and the attributes of the
    older one. If nothing can take its place, as in a folder that is not writable, or if it has hard links, it is
    written in place: then an error may leave it half-written.
    """
    write_whole(path, dumps(config, domain_type=domain_type, on_loss=on_loss).encode())


def patch(text: str | bytes, config: DomainConfig, *, on_loss: OnLoss = "raise", source: str | None = None) -> str:
    """Change a document to match a configuration, and touch only what differs.

    Comments, metadata, unknown elements and whitespace stay as they are; so do devices that pyxen does not know.

    Args:
        text: The document.
        config: The configuration that it should have.
        on_loss: What to do if XML cannot express everything: ``"raise"``, ``"warn"`` or ``"ignore"``.
        source: Name of the file, for errors.

    Returns:
        The changed document.

    Raises:
        ParseError: ``text`` is not XML, or not a domain, or has two ``<devices>`` or another section twice.
        LossyConversion: XML cannot express all of it, and ``on_loss`` is ``"raise"``.
    """
    root = parse_tree(text, source)
    domain_type = root.get("type") or document.XEN
    is_xen = document.has_xen_words(domain_type)
    written = Source(text if isinstance(text, str) else decoded(text, root), root)
    try:
        found = document.read(to_node(root))
        said = found.config()
        changed: Collection[str] = fields_of(DomainConfig).differing(said, config)
        if changed:
            _check_sections(root)
        for _ in range(_PASSES):
            if not changed:
                break
            before, after = document.write_some(changed, said, config, domain_type)
            if not carry_over(root, before, after, written):
                break
            found = _read_again(root, found, changed, written)
            changed = found.differing(config)
            said = found.config() if changed else config
    except ParseError as error:
        error.source = source
        raise
    _report(differences(config, said, is_xen=is_xen) if changed or not is_xen else (), config, on_loss, source)
    return write_out(root, written)


def _check_sections(root: etree._Element) -> None:
    """Refuse to change a document that has a section twice: a change belongs into one of them.

    Raises:
        ParseError: It has.
    """
    for tag in document.JOINED:
        found = root.findall(tag)
        if len(found) > 1:
            reason = f"join the {len(found)} <{tag}> of the document into one before you change it"
            raise ParseError(reason, line=found[1].sourceline)


def _read_again(root: etree._Element, before: XmlReadState, changed: Collection[str], source: Source) -> XmlReadState:
    """Read a document after some settings were changed; its devices only if they can have another meaning now."""
    devices = root.find("devices")
    if devices is None or not source.is_as_it_was(devices) or not document.SEEN_BY_DEVICES.isdisjoint(changed):
        return document.read(to_node(root))
    return document.read(to_node(root, without=devices), before)


_PASSES: Final = 3
"""The most passes over a document. One suffices, unless removing an element changes the meaning of an absent one."""
