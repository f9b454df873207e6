"""Findings about items of lists: old spellings of disks and interfaces, and words that an older xl refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pyxen.config import Disk, DiskFormat
from pyxen.errors import ConfigError
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.disk import read_disk, write_disk
from pyxen.xlcfg.findings import Finding
from pyxen.xlcfg.grammar import Assignment
from pyxen.xlcfg.item_grammar import SpecError
from pyxen.xlcfg.keys import KEYS, release

__all__ = ["item_findings"]

_RATE: Final = re.compile(r"(?:^|,)\s*rate=(0[0-9]+|[0-9]+)([GMK]?[Bb]/s)(@[0-9]+$|@[0-9]+(?=,))?")
_OLD_PREFIX: Final = re.compile(r"(?:^|,)\s*(raw|qcow2?|vhd|iscsi|e?nbd|drbd|tapdisk|tap2?|aio|ioemu|file|phy):")
_NETDEV: Final = re.compile(r"(?:^|,)\s*netdev=")
_OLD_DEVTYPE: Final = re.compile(r",\s*([a-z0-9]*):(cdrom|disk)(?:,|$)")
_FORMATS: Final = tuple(one.value for one in DiskFormat if one not in (DiskFormat.RAW, DiskFormat.EMPTY))
_NO_FORMATS: Final = ("vdi", "vhdx", "vmdk")
"""Formats of images that xl cannot read."""

_NEWER_WORDS: Final = {"disk": (("trusted", "4.19"), ("untrusted", "4.19"))}
"""Words that came to xl later than to libxl, each with its release. The model has the releases of the others."""

_WITH_RULES: Final = ("disk", "vif", "usbdev", "p9")
"""Lists for whose items there are rules."""

_NEEDED_BY_9PFS: Final = ("tag", "path", "security_model")
_FREE_9PFS: Final = (4, 19)
"""The first release where xl accepts a 9pfs folder without these settings."""


def item_findings(
    written: Sequence[Assignment], disks: Mapping[str, Disk], target: tuple[int, int]
) -> Iterator[Finding]:
    """Yield the findings about items of lists for the Xen release `target`.

    Args:
        written: The settings of a configuration.
        disks: Disks that were read already, by their items.
        target: The release.
    """
    of_9pfs: set[str] = set()
    for assignment in written:
        if isinstance(assignment.value, str) or assignment.key not in KEYS:
            continue
        if list in map(type, assignment.value):
            yield from _nested(assignment)
        if assignment.key not in _WITH_RULES:
            continue
        for offset, item in zip(assignment.items, assignment.value, strict=True):
            if not isinstance(item, str):
                continue
            yield from _item(assignment.key, item, offset, disks, target)
            if assignment.key == "p9" and target < _FREE_9PFS and _is_readable("p9", item):
                yield from _old_p9(item, offset, target, of_9pfs)


def _nested(assignment: Assignment) -> Iterator[Finding]:
    if assignment.key in ("vsnd", "vnuma"):
        return
    for offset, item in zip(assignment.items, assignment.value, strict=True):
        if isinstance(item, list):
            message = "xl stops reading the list where a list begins inside it, and drops the rest in silence"
            yield Finding(offset, "nested-list", message, "remove the inner brackets")
            return


def _item(key: str, item: str, offset: int, disks: Mapping[str, Disk], target: tuple[int, int]) -> Iterator[Finding]:
    for word, since in _NEWER_WORDS.get(key, ()):
        if release(since) > target and any(part.strip() == word for part in item.split(",")):
            message = f"xl of {'.'.join(map(str, target))} refuses {word}, which came with Xen {since}"
            yield Finding(offset, "newer-key", message, severity="error")
    if key == "disk":
        yield from _disk(item, offset, disks)
    elif key == "vif":
        yield from _vif(item, offset)
    elif key == "usbdev" and "type=" not in item and _is_readable(key, item):
        message = "without type=hostdev, libxl does not keep the bus and the address of the device"
        yield Finding(offset, "no-usb-type", message, f'write "type=hostdev,{item}"')


def _is_readable(key: str, item: str) -> bool:
    try:
        GRAMMARS[key].read(item, lambda _value, _reason: None)
    except (SpecError, ConfigError):
        return False  # reported as an error elsewhere
    return True


def _disk(item: str, offset: int, disks: Mapping[str, Disk]) -> Iterator[Finding]:
    try:
        disk = disks.get(item) or read_disk(item)
    except (SpecError, ConfigError):
        return  # reported as an error elsewhere
    if ":" in item:
        yield from _outdated(item, offset, disk)
    yield from _format(disk, offset)


def _outdated(item: str, offset: int, disk: Disk) -> Iterator[Finding]:
    """Report old spellings, all of which have a colon."""
    prefix, old = _OLD_PREFIX.match(item), _OLD_DEVTYPE.search(item)
    outdated = [*([f"the prefix {prefix[1]}:"] if prefix else []), *([f":{old[2]}"] if old else [])]
    if outdated:
        message = f"{' and '.join(outdated)} {'are' if len(outdated) > 1 else 'is'} outdated"
        vdev = None if disk.vdev is None else disk.vdev.removeprefix("/dev/")
        hint = f'write "{write_disk(disk.replace(vdev=vdev))}"'
        yield Finding(offset, "outdated-disk", message, hint, "note")


def _format(disk: Disk, offset: int) -> Iterator[Finding]:
    """Report an image that is read as raw, although its name has the suffix of another format."""
    target = disk.target or ""
    if disk.format is not DiskFormat.RAW or disk.script is not None:
        return
    suffix = target.rpartition(".")[2].lower()
    message = f"xl reads {target} as raw, although its name says {suffix}"
    if suffix in _FORMATS:
        yield Finding(offset, "disk-format", message, f"write format={suffix} if it is")
    elif suffix in _NO_FORMATS:
        yield Finding(offset, "disk-format", message, "xl cannot read that format; qemu-img converts it to qcow2")


def _vif(item: str, offset: int) -> Iterator[Finding]:
    if "netdev=" in item and _NETDEV.search(item):
        yield Finding(offset, "outdated-value", "netdev is outdated", "write gatewaydev=", "note")
    rate = _RATE.search(item) if "rate=" in item else None
    if rate and rate[1].startswith("0"):
        octal = rate[1].strip("01234567") == "" and int(rate[1], 8)
        hint = f"write rate={octal}{rate[2]}; write {rate[1].lstrip('0')}{rate[2]} if that is meant" if octal else ""
        yield Finding(offset, "octal", f"{rate[1]} is octal in rate", hint)
    if rate and rate[3]:
        message = f"{rate[3]} is in seconds, although the manual says microseconds"
        yield Finding(offset, "rate-interval", message, f"write {rate[3]}s; write {rate[3]}us if that is meant")


def _old_p9(item: str, offset: int, target: tuple[int, int], said: set[str]) -> Iterator[Finding]:
    """Report a 9pfs folder that an older xl refuses.

    That xl fills in what a folder lacks from the folders before it: `said` has the names of their settings.
    """
    version = ".".join(map(str, target))
    names = [word.lstrip(" ").partition("=")[0] for word in item.split(",") if "=" in word]
    for name in names:
        if name != name.rstrip():
            message = f"xl of {version} refuses a blank before ="
            yield Finding(offset, "refused", message, f"write {name.rstrip()}=", "error")
    said.update(name.rstrip() for name in names)
    missing = [name for name in _NEEDED_BY_9PFS if name not in said]
    if missing:
        message = f"xl of {version} refuses a folder without {' and '.join(missing)}"
        yield Finding(offset, "refused", message, f"add {', '.join(f'{name}=…' for name in missing)}", "error")
