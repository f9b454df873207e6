"""Looks through a configuration for what xl takes in silence and its author did not mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from pyxen.config import DomainType
from pyxen.config.releases import DEFAULT
from pyxen.errors import ConfigError, ParseError
from pyxen.xlcfg.boot_keys import read_type
from pyxen.xlcfg.domain import read_domain
from pyxen.xlcfg.grammar import Assignment, assignments
from pyxen.xlcfg.keys import KEYS, OLDEST, Key, release
from pyxen.xlcfg.lint_rules import traps
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.source import Source
from pyxen.xlcfg.syntax_errors import Places

__all__ = ["Diagnostic", "lint"]

Severity: TypeAlias = Literal["error", "warning", "note"]

_MOST_GUESSES: Final = 100
"""Unknown keys that a known one is looked for."""

_FOREIGN: Final = {
    "bootargs": "bootloader_args",
    "parallel": "",
    "vcpu_avail": "vcpus",
    "cpu": "cpus",
    "cpu_cap": "cap",
    "vnc_console": "",
    "ip": "vif",
    "dhcp": "",
    "netmask": "",
    "gateway": "",
    "hostname": "",
    "nics": "vif",
    "audio": "soundhw",
    "superpages": "",
    "monitor": "",
    "guest_os_type": "",
    "xen_extended_power_mgmt": "",
    "tpmif": "vtpm",
}
"""Keys of xend and of libvirt's converter that xl does not know, with xl's word for them."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    Attributes:
        line: Line, from 1.
        column: Column, from 1, in characters.
        code: Short name of the kind of finding, as ``unknown-key``.
        message: What is the matter.
        hint: What to write instead; "" where there is nothing to say.
        severity: ``error`` where xl refuses, ``warning`` where it does something else than was meant, ``note`` for
            outdated spellings.
    """

    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = "warning"

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.line}:{self.column}: {self.severity}: {self.message}{hint} [{self.code}]"


def lint(text: str | bytes, xen: str = DEFAULT) -> list[Diagnostic]:
    """Look through a configuration.

    Args:
        text: The configuration; it need not be one that xl takes.
        xen: The Xen release it is for, as ``"4.20"``; keys and words that came later are reported.

    Returns:
        What was found, in the order of the text.

    Raises:
        ValueError: `xen` is no release, or one older than 4.17.
    """
    target = release(xen)
    if target < release(OLDEST):
        raise ValueError(f"Xen {xen} is older than what is known here; {OLDEST} is the oldest")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    try:
        written = assignments(text)
        settings = Settings(text, written)
    except ParseError as error:
        return [Diagnostic(error.line or 1, error.column or 1, "syntax", error.message, severity="error")]
    places = Places(text)
    guest = _guest(settings)
    found = [*_keys(written, places, target, guest), *_repeated(written, places), *_meaning(settings)]
    found += [
        Diagnostic(*places(trap.offset), trap.code, trap.message, trap.hint, trap.severity)
        for trap in traps(text, written, target)
    ]
    return sorted(set(found), key=lambda one: (one.line, one.column, one.code))


def _keys(
    written: list[Assignment], places: Places, target: tuple[int, int], guest: DomainType | None
) -> Iterator[Diagnostic]:
    """Report keys that xl does not know, does not know yet, or knows better by another name."""
    guesses = 0
    for assignment in written:
        line, column = places(assignment.start)
        known = KEYS.get(assignment.key)
        if known is None:
            guesses += 1
            yield _unknown(assignment.key, line, column, guess=guesses <= _MOST_GUESSES)
            continue
        if known.since and release(known.since) > target:
            version = ".".join(map(str, target))
            message = f"{known.name} came with Xen {known.since}; xl of {version} passes over it in silence"
            yield Diagnostic(line, column, "newer-key", message)
        if known.instead is not None:
            yield _outdated(known, assignment, line, column)
        if guest is not None and known.guests and guest not in known.guests:
            wanted = " and ".join(one.upper() for one in known.guests)
            message = f"{known.name} means nothing to {'an' if guest == 'hvm' else 'a'} {guest.upper()} guest"
            yield Diagnostic(line, column, "other-guest", message, f"{wanted} guests have it")


def _guest(settings: Settings) -> DomainType | None:
    try:
        return read_type(Source(settings))
    except ParseError:
        return None


def _unknown(key: str, line: int, column: int, *, guess: bool) -> Diagnostic:
    if key in _FOREIGN:
        hint = f"xl's word for it is {_FOREIGN[key]}" if _FOREIGN[key] else "xl has nothing of the kind"
    else:
        near = get_close_matches(key, KEYS, n=1, cutoff=0.75) if guess else []
        hint = f"did you mean {near[0]}?" if near else ""
    return Diagnostic(line, column, "unknown-key", f"xl knows no key {key}, and passes over it in silence", hint)


def _outdated(known: Key, assignment: Assignment, line: int, column: int) -> Diagnostic:
    hints = {
        "builder": 'write type = "hvm"' if assignment.value == "hvm" else 'write type = "pv" or "pvh"',
        "root": 'write cmdline = "root=…"',
        "extra": "write it into cmdline",
        "device_model": "leave it out: xl ignores it; device_model_override names another QEMU",
        "stdvga": 'write vga = "stdvga" or "cirrus"',
        "altp2mhvm": 'write altp2m = "mixed"',
        "nx": 'write cpuid = "host,nx=0"',
    }
    message = f"{known.name} is outdated" + ("" if known.instead else " and without effect")
    hint = hints.get(known.name, f"write {known.instead}" if known.instead else "leave it out")
    return Diagnostic(line, column, "outdated-key", message, hint, "note")


def _repeated(written: list[Assignment], places: Places) -> Iterator[Diagnostic]:
    """Report settings that a later one of the same key undoes."""
    last: dict[str, Assignment] = {}
    for assignment in written:
        earlier = last.get(assignment.key)
        if earlier is not None and not assignment.adds:
            line, column = places(earlier.start)
            later, _ = places(assignment.start)
            message = f"{assignment.key} is set again in line {later}; only the last setting counts"
            known = KEYS.get(assignment.key)
            joins = known is not None and ("list" in known.kind or "strings" in known.kind)
            hint = "leave it out" + (f", or write {assignment.key} += there" if joins else "")
            yield Diagnostic(line, column, "repeated-key", message, hint)
        last[assignment.key] = assignment


def _meaning(settings: Settings) -> Iterator[Diagnostic]:
    """Report what xl refuses, and values that it passes over."""
    source = Source(settings)
    try:
        config = read_domain(source)
    except ConfigError as error:
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        yield Diagnostic(line or 1, column or 1, "refused", error.message, severity="error")
    else:
        for problem in config.problems():
            line, column = source.place(_key_of(problem.path))
            yield Diagnostic(line, column, "problem", f"{problem.path}: {problem.message}")
    for loss in source.losses:
        found = re.fullmatch(r"(\S+) \(line (\d+), column (\d+)\)", loss.path)
        key = found[1] if found else ""
        if found and key in KEYS and not _reported_elsewhere(key, loss.reason):
            message = f"{key}: {loss.value}: {loss.reason}"
            yield Diagnostic(int(found[2]), int(found[3]), "ignored-value", message, _hint(loss.value))


def _reported_elsewhere(key: str, reason: str) -> bool:
    told = "guests have it" in reason or "guest has no" in reason or "a list inside it" in reason
    return told or key == "viridian" or KEYS[key].instead is not None


def _key_of(path: str) -> str:
    head = path.partition("[")[0]
    return next((name for name, key in KEYS.items() if key.field in (path, head)), head)


def _hint(value: str) -> str:
    return "write 1 or 0" if value.strip("'").lower() in ("yes", "no", "true", "false", "on", "off") else ""
