"""Findings about values that xl reads in another way than they look, and about missing keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pyxen.config.cpuid_flags import since as feature_since
from pyxen.xlcfg.boot_keys import is_hvmloader, split_arguments
from pyxen.xlcfg.c_numbers import to_long
from pyxen.xlcfg.findings import Finding
from pyxen.xlcfg.grammar import Assignment
from pyxen.xlcfg.keys import KEYS, release
from pyxen.xlcfg.values import format_value

__all__ = ["value_findings"]

_OCTAL: Final = re.compile(r"0[0-7]{1,20}")
_SWALLOWED: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[0-7]")

_ONE_VCPU: Final = (4, 22)
"""The first release where a domain with no ``vcpus``, or fewer than 1, has one vCPU, which ``cpus`` pins."""

_PREFIXED: Final = {"type": ("hvm", "pv", "pvh"), "firmware": ("uefi", "bios")}
"""Keys whose values may be abbreviated."""

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
"""Keys whose values were numbers, and the names of the numbers."""

_WORDED: Final = frozenset({*_PREFIXED, "bootloader_args", "viridian", "kernel"})
"""Keys with words that `_word` knows."""

_OF_RELEASE: Final = frozenset({"vcpus", "cpuid"})
"""Keys whose values mean something else to some releases."""

_WITH_RULES: Final = frozenset({*_NUMBERED, *_WORDED, *_OF_RELEASE})
"""Keys with rules of their own. What begins with 0 is looked at with any key."""


def value_findings(text: str, written: Sequence[Assignment], target: tuple[int, int]) -> Iterator[Finding]:
    """Yield the findings about the values of a configuration for the Xen release `target`."""
    has_escapes = "\\" in text
    for assignment in written:
        key, value = assignment.key, assignment.value
        if has_escapes and key in KEYS:
            yield from _escapes(text, assignment)
        if isinstance(value, str) and (value[:1] == "0" or key in _WITH_RULES) and key in KEYS:
            yield from _number(assignment, value)
            if key in _WORDED:
                yield from _word(assignment, value)
            if key in _OF_RELEASE:
                yield from _of_release(assignment, value, target)
    yield from _missing(written, target)
    yield from _stray(text, written)


def _escapes(text: str, assignment: Assignment) -> Iterator[Finding]:
    raw = text[assignment.value_start : assignment.value_end]
    for match in _SWALLOWED.finditer(raw):
        message = "xl drops an octal escape from the string, with its digits"
        yield Finding(assignment.value_start + match.start(), "lost-escape", message, "write the character itself")


def _number(assignment: Assignment, value: str) -> Iterator[Finding]:
    kind = KEYS[assignment.key].kind
    if _OCTAL.fullmatch(value) and ("integer" in kind or "boolean" in kind) and int(value, 8) != int(value):
        hint = f"write {int(value, 8)}; write {int(value)} if that is meant"
        yield Finding(assignment.value_start, "octal", f"{value} is octal, and means {int(value, 8)}", hint)
    names = _NUMBERED.get(assignment.key, ())
    if names and value in map(str, range(len(names))):
        hint = f'write {assignment.key} = "{names[int(value)]}"'
        message = f"numbers are outdated in {assignment.key}"
        yield Finding(assignment.value_start, "outdated-value", message, hint, "note")


def _word(assignment: Assignment, value: str) -> Iterator[Finding]:
    key, offset = assignment.key, assignment.value_start
    choices = _PREFIXED.get(key, ())
    meant = next((one for one in choices if one.startswith(value)), None)
    if meant is not None and value not in choices:
        yield Finding(offset, "abbreviated", f"xl reads {value!r} as {meant!r}", f'write {key} = "{meant}"')
    if key == "bootloader_args" and not value:
        yield Finding(offset, "refused", "xl crashes on an empty string here", "leave it out", "error")
    elif key == "bootloader_args":
        hint = f"write {key} = {format_value(split_arguments(value))}"
        yield Finding(offset, "outdated-value", "a single string is outdated in bootloader_args", hint, "note")
    if key == "viridian" and to_long(value) is None:
        hint = f"write {key} = [ {value!r} ]"
        yield Finding(offset, "ignored-value", f"xl ignores {value!r} in silence", hint)
    if key == "kernel" and is_hvmloader(value):
        yield Finding(
            offset, "outdated-value", "hvmloader is not a kernel, and xl loads it anyway", "leave it out", "note"
        )


def _of_release(assignment: Assignment, value: str, target: tuple[int, int]) -> Iterator[Finding]:
    version = ".".join(map(str, target))
    number = to_long(value)
    if assignment.key == "vcpus" and target < _ONE_VCPU and number is not None and number < 1:
        if number:
            message = f"xl of {version} refuses a negative number of vCPUs"
            yield Finding(assignment.value_start, "refused", message, "write vcpus = 1", "error")
        else:
            message = f"with vcpus = 0, xl of {version} makes a domain without an online vCPU"
            yield Finding(assignment.value_start, "ignored-value", message, "write vcpus = 1")
    first, *words = value.split(",")
    if assignment.key == "cpuid" and first == "host":
        for word in words:
            name = word.partition("=")[0]
            came = feature_since(name)
            if came is not None and release(came) > target:
                message = f"xl of {version} ignores the CPU feature {name}, which came with Xen {came}"
                yield Finding(assignment.value_start, "newer-value", message)


def _missing(written: Sequence[Assignment], target: tuple[int, int]) -> Iterator[Finding]:
    """Report missing keys without which another key has no effect, or the domain is too small."""
    keys = {assignment.key: assignment for assignment in written}
    if keys.keys().isdisjoint(("vcpus", "maxvcpus", "vnuma")) and target < _ONE_VCPU:
        version = ".".join(map(str, target))
        for key in ("cpus", "cpus_soft"):
            if key in keys:
                message = f"xl of {version} ignores {key} where vcpus is missing"
                yield Finding(keys[key].start, "ignored-value", message, "write vcpus = 1, or more")
    if written and keys.keys().isdisjoint(("memory", "maxmem", "vnuma")):
        message = "memory is missing; libxl's default is 32 MiB"
        yield Finding(0, "no-memory", message, "write memory = 1024 or the like")


def _stray(text: str, written: Sequence[Assignment]) -> Iterator[Finding]:
    end = written[-1].value_end if written else 0
    rest = text[end:].rpartition("\n")[2].strip(" \t;")
    if rest and not text.endswith("\n"):
        message = f"xl drops {rest!r} at the end of the text; if anything followed, it would be an error"
        yield Finding(len(text) - 1, "stray-character", message, "leave it out, or end the line")
