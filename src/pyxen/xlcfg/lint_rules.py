"""Values that xl takes in silence, but otherwise than they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from pyxen.xlcfg.grammar import Assignment, item_offsets
from pyxen.xlcfg.keys import KEYS, release

__all__ = ["Trap", "traps"]

_OCTAL: Final = re.compile(r"0[0-7]{1,20}")
_SWALLOWED: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[0-7]")
_RATE: Final = re.compile(r"(?:^|,)\s*rate=(0[0-9]+|[0-9]+)[GMK]?[Bb]/s(@[0-9]+$|@[0-9]+(?=,))?")
_OLD_DISK: Final = re.compile(r"(?:^|,)\s*(raw|qcow2?|vhd|iscsi|e?nbd|drbd|tapdisk|tap2?|aio|ioemu|file|phy):")
_OLD_DEVTYPE: Final = re.compile(r",\s*([a-z0-9]*):(cdrom|disk)(?:,|$)")
_PCI_SWITCH: Final = re.compile(r"(permissive|msitranslate|seize|power_mgmt)=([^0-9,][^,]*)")

_NEWER_WORDS: Final = {
    "disk": (("grant_usage=", "4.19"), ("trusted", "4.19"), ("untrusted", "4.19")),
    "vif": (("vlan=", "4.19"),),
    "p9": (("type=", "4.19"), ("max-", "4.19"), ("auto-delete=", "4.19")),
}
_CPUS_WITHOUT_VCPUS: Final = (4, 22)
"""The release from which on ``cpus`` alone pins the one vCPU."""

_REMOVED_WORDS: Final = {"device_model_version": ("qemu-xen-traditional", "4.20"), "bios": ("rombios", "4.20")}
"""Values that libxl refuses, by their keys, and the last release that took them."""

_PREFIXED: Final = {"type": ("hvm", "pv", "pvh"), "firmware": ("uefi", "bios"), "builder": ("hvm", "generic")}
_NUMBERED: Final = {
    "tsc_mode": ("default", "always_emulate", "native", "native_paravirt"),
    "timer_mode": (
        "delay_for_missed_ticks",
        "no_delay_for_missed_ticks",
        "no_missed_ticks_pending",
        "one_missed_tick_pending",
    ),
    "altp2m": ("disabled", "mixed", "external", "limited"),
}


class Trap(NamedTuple):
    """One finding.

    Attributes:
        offset: Its place in the text.
        code: Short name of the kind of finding.
        message: What is the matter.
        hint: What to write instead.
        severity: ``warning`` or ``note``.
    """

    offset: int
    code: str
    message: str
    hint: str = ""
    severity: Literal["warning", "note"] = "warning"


def traps(text: str, written: list[Assignment], target: tuple[int, int]) -> Iterator[Trap]:
    """Return the traps of a configuration that is for the Xen release `target`."""
    keys = {assignment.key for assignment in written}
    for assignment in written:
        known = KEYS.get(assignment.key)
        if known is None:
            continue
        yield from _escapes(text, assignment)
        if isinstance(assignment.value, str):
            yield from _single(assignment, assignment.value, known.kind)
            yield from _removed(assignment, assignment.value, target)
        else:
            yield from _nested(text, assignment)
            for offset, item in zip(item_offsets(text, assignment), assignment.value, strict=True):
                if isinstance(item, str):
                    yield from _item(assignment.key, item, offset, target)
    if "cpus" in keys and "vcpus" not in keys and target < _CPUS_WITHOUT_VCPUS:
        offset = next(assignment.start for assignment in written if assignment.key == "cpus")
        version = ".".join(map(str, target))
        yield Trap(offset, "ignored-value", f"xl of {version} ignores cpus without vcpus", "write vcpus = 1, or more")
    if keys.isdisjoint(("memory", "maxmem", "vnuma")):
        yield Trap(0, "no-memory", "no memory is said; libxl's default is 32 MiB", "write memory = 1024 or the like")
    yield from _stray(text, written)


def _escapes(text: str, assignment: Assignment) -> Iterator[Trap]:
    raw = text[assignment.value_start : assignment.value_end]
    for match in _SWALLOWED.finditer(raw) if "\\" in raw else ():
        message = "an octal escape disappears from the string, with the digits behind it"
        yield Trap(assignment.value_start + match.start(), "lost-escape", message, "write the character itself")


def _single(assignment: Assignment, value: str, kind: str) -> Iterator[Trap]:
    key, offset = assignment.key, assignment.value_start
    if _OCTAL.fullmatch(value) and ("integer" in kind or "boolean" in kind) and int(value, 8) != int(value):
        yield Trap(offset, "octal", f"{value} is octal, so {int(value, 8)}", f"write {int(value)}")
    choices = _PREFIXED.get(key, ())
    meant = next((one for one in choices if one.startswith(value)), None)
    if meant is not None and value not in choices:
        yield Trap(offset, "abbreviated", f"xl takes {value!r} for {meant!r}", f"write {meant!r}")
    names = _NUMBERED.get(key, ())
    if names and value in map(str, range(len(names))):
        name = names[int(value)]
        yield Trap(offset, "outdated-value", f"numbers are outdated in {key}", f"write {key} = {name!r}", "note")
    if key == "bootloader_args":
        yield Trap(offset, "outdated-value", "a single string is outdated here", "write a list of arguments", "note")
    if key == "viridian" and not value.isdigit():
        yield Trap(offset, "ignored-value", f"xl ignores {value!r} in silence", f"write viridian = [ {value!r} ]")
    if key == "kernel" and value.rpartition("/")[2] == "hvmloader":
        yield Trap(offset, "outdated-value", "hvmloader is no kernel, and is loaded anyway", "leave it out", "note")


def _removed(assignment: Assignment, value: str, target: tuple[int, int]) -> Iterator[Trap]:
    word, until = _REMOVED_WORDS.get(assignment.key, ("", ""))
    if word and value == word and target > release(until):
        yield Trap(
            assignment.value_start, "removed", f"{word} is refused: Xen {until} was the last to take it", "leave it out"
        )


def _nested(text: str, assignment: Assignment) -> Iterator[Trap]:
    if assignment.key in ("vsnd", "vnuma") or isinstance(assignment.value, str):
        return
    for offset, item in zip(item_offsets(text, assignment), assignment.value, strict=True):
        if isinstance(item, list):
            message = "xl ends reading the list at a list inside it, and drops what follows, in silence"
            yield Trap(offset, "nested-list", message, "take the inner brackets away")
            return


def _item(key: str, item: str, offset: int, target: tuple[int, int]) -> Iterator[Trap]:
    for word, since in _NEWER_WORDS.get(key, ()):
        if release(since) > target and any(part.strip().startswith(word) for part in item.split(",")):
            yield Trap(offset, "newer-key", f"{word.rstrip('=')} in {key} came with Xen {since}")
    if key == "disk":
        yield from _disk(item, offset)
    elif key == "vif":
        yield from _vif(item, offset)
    elif key == "pci":
        for match in _PCI_SWITCH.finditer(item):
            message = f"{match[1]}={match[2]} is {match[1]}=0 to xl"
            yield Trap(offset, "ignored-value", message, f"write {match[1]}=1")
    elif key == "usbdev" and "type=" not in item:
        message = "without type=hostdev the device is not in what libxl keeps of the domain"
        yield Trap(offset, "no-usb-type", message, "add type=hostdev")


def _disk(item: str, offset: int) -> Iterator[Trap]:
    prefix = _OLD_DISK.match(item)
    if prefix:
        hints = {"iscsi": "script=block-iscsi", "drbd": "script=block-drbd", "nbd": "script=block-nbd"}
        hint = hints.get(prefix[1], "the format is said by format=, the backend is found by libxl")
        yield Trap(offset, "outdated-disk", f"the prefix {prefix[1]}: is outdated", hint, "note")
    old = _OLD_DEVTYPE.search(item)
    if old:
        yield Trap(offset, "outdated-disk", f":{old[2]} is outdated", f"write devtype={old[2]}", "note")


def _vif(item: str, offset: int) -> Iterator[Trap]:
    if re.search(r"(?:^|,)\s*netdev=", item):
        yield Trap(offset, "outdated-value", "netdev is outdated", "write gatewaydev=", "note")
    rate = _RATE.search(item)
    if rate and rate[1].startswith("0"):
        yield Trap(offset, "octal", f"{rate[1]} is octal in rate", f"write {rate[1].lstrip('0')}")
    if rate and rate[2]:
        message = f"{rate[2]} is in seconds, though the manual says microseconds"
        yield Trap(offset, "rate-interval", message, f"write {rate[2]}us or the like")


def _stray(text: str, written: list[Assignment]) -> Iterator[Trap]:
    end = written[-1].value_end if written else 0
    rest = text[end:].rpartition("\n")[2].strip(" \t;")
    if rest and not text.endswith("\n"):
        message = f"xl forgets {rest!r}, which ends the text; followed by anything it would be an error"
        yield Trap(len(text) - 1, "stray-character", message, "leave it out, or end the line")
