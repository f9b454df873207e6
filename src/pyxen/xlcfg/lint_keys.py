"""Findings about keys that xl does not know, does not have yet or ignores, and about settings that are overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from pyxen.config import DomainConfig, DomainType
from pyxen.errors import ConfigError, ParseError
from pyxen.xlcfg.boot_keys import read_type
from pyxen.xlcfg.findings import Finding
from pyxen.xlcfg.grammar import Assignment
from pyxen.xlcfg.keys import KEYS, Key, release
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.similar import nearest
from pyxen.xlcfg.source import Source, shortened
from pyxen.xlcfg.values import quote

__all__ = ["FOREIGN", "key_findings", "settings_of_release"]

_MOST_GUESSES: Final = 100
"""Number of unknown keys for which a similar known key is looked up."""

_NOTHING: Final = "xl has nothing of the kind"
_FROM_CREATE: Final = "xl create -p starts a domain paused"
_FOR_VIEWER: Final = "xl create -V starts a viewer"
_IN_DISK: Final = "write it into disk"
_IN_VIF: Final = "write it into vif"

_OFF: Final = ("", "0", "none")
"""Values that ask for nothing."""

FOREIGN: Final = {
    "arch": _NOTHING,
    "audio": "xl's word for it is soundhw",
    "autostart": "link the file into /etc/xen/auto",
    "boot_order": "xl's word for it is boot",
    "bootargs": "xl's word for it is bootloader_args",
    "bridge": _IN_VIF,
    "cdrom": _IN_DISK,
    "command": "xl's word for it is cmdline",
    "cpu": "xl's word for it is cpus",
    "cpu_cap": "xl's word for it is cap",
    "dhcp": _NOTHING,
    "dtb": "xl's word for it is device_tree",
    "gateway": _NOTHING,
    "graphics": "xl's words for it are vnc, spice and sdl",
    "guest_os_type": _NOTHING,
    "hostname": _NOTHING,
    "iommu": "xl's word for it is passthrough",
    "ip": _IN_VIF,
    "loader": "leave it out: libxl finds hvmloader by itself, and firmware names another",
    "mac": _IN_VIF,
    "maxmemory": "xl's word for it is maxmem",
    "mem": "xl's word for it is memory",
    "monitor": _NOTHING,
    "netmask": _NOTHING,
    "nics": "leave it out: vif has an item for each",
    "on_xend_start": "link the file into /etc/xen/auto",
    "on_xend_stop": _NOTHING,
    "os": _NOTHING,
    "parallel": _NOTHING,
    "paused": _FROM_CREATE,
    "ram": "xl's word for it is memory",
    "restart": "xl's words for it are on_poweroff, on_reboot and on_crash",
    "sound": "xl's word for it is soundhw",
    "start_paused": _FROM_CREATE,
    "superpages": _NOTHING,
    "tpmif": "xl's word for it is vtpm",
    "uefi": 'write firmware = "uefi"',
    "vcpu_avail": "xl's words for it are vcpus and maxvcpus",
    "video": "xl's word for it is vga",
    "vnc_console": _FOR_VIEWER,
    "vncconsole": _FOR_VIEWER,
    "xen_extended_power_mgmt": _NOTHING,
}
"""Keys that xl does not know, from xend, libvirt's converter and other configurations, and what to do about them."""


def settings_of_release(settings: Settings, written: Sequence[Assignment], target: tuple[int, int]) -> Settings:
    """Return the settings that xl of the Xen release `target` reads: those whose key is not newer."""
    newer = _newer_keys(target)
    if newer.isdisjoint(settings):
        return settings
    return Settings(settings.text, [one for one in written if one.key not in newer])


@lru_cache(maxsize=32)
def _newer_keys(target: tuple[int, int]) -> frozenset[str]:
    """Return the keys that the Xen release `target` does not have yet."""
    return frozenset(key for key, known in KEYS.items() if known.since is not None and release(known.since) > target)


def key_findings(
    written: Sequence[Assignment], config: DomainConfig | ConfigError, source: Source, target: tuple[int, int]
) -> Iterator[Finding]:
    """Yield the findings about the keys of a configuration for the Xen release `target`.

    Args:
        written: Its settings.
        config: The configuration, or why xl refuses it.
        source: The settings that it was read from.
        target: The release.
    """
    guest = _guest(config, source)
    version = ".".join(map(str, target))
    newer = _newer_keys(target)
    guesses = 0
    for assignment in written:
        known = KEYS.get(assignment.key)
        if known is None:
            guesses += 1
            yield _unknown(assignment, guess=guesses <= _MOST_GUESSES)
            continue
        if assignment.key in newer:
            message = f"{known.name} came with Xen {known.since}; xl of {version} passes over it in silence"
            yield Finding(assignment.start, "newer-key", message)
            continue
        if known.instead is not None:
            yield from _outdated(known, assignment, source)
        if guest is None or not known.guests or guest in known.guests:
            if known.until is not None or known.name == "msr_relaxed":
                yield from _without_effect(known, assignment, target)
        else:
            wanted = " and ".join(one.upper() for one in known.guests)
            a = "an" if guest is DomainType.HVM else "a"
            message = f"{known.name} means nothing to {a} {guest.upper()} guest"
            yield Finding(assignment.start, "other-guest", message, f"{wanted} guests have it")
    if len(source.settings) < len(written):
        yield from _repeated(written)


def _guest(config: DomainConfig | ConfigError, source: Source) -> DomainType | None:
    if isinstance(config, DomainConfig):
        return config.type
    try:
        return read_type(Source(source.settings))
    except ParseError:
        return None


def _unknown(assignment: Assignment, *, guess: bool) -> Finding:
    key = assignment.key
    hint = FOREIGN.get(key, "")
    if not hint and guess:
        near = nearest(key, (name for name, known in KEYS.items() if known.instead is None))
        hint = f"did you mean {near}?" if near else ""
    message = f"xl does not know the key {shortened(key)}, and passes over it in silence"
    nothing_lost = hint == _NOTHING and assignment.value in _OFF
    return Finding(assignment.start, "unknown-key", message, hint, "note" if nothing_lost else "warning")


def _without_effect(known: Key, assignment: Assignment, target: tuple[int, int]) -> Iterator[Finding]:
    if known.until and release(known.until) < target:
        message = f"{known.name} has no effect: Xen {known.until} was the last release where it had one"
        yield Finding(assignment.start, "removed", message, "leave it out", "note")
    if known.name == "msr_relaxed":
        yield Finding(assignment.start, "outdated-key", "xl warns that a later release will remove it", severity="note")


def _outdated(known: Key, assignment: Assignment, source: Source) -> Iterator[Finding]:
    if known.name in ("root", "extra") and "cmdline" in source.settings:
        return  # xl ignores them then, which is reported as a warning
    hint = _hint(known, source)
    message = f"{known.name} is outdated" + ("" if known.instead else " and without effect")
    yield Finding(assignment.start, "outdated-key", message, hint, "note")


def _hint(known: Key, source: Source) -> str:
    value = source.settings.string(known.name) or ""
    number = source.settings.integer(known.name)
    if known.name == "builder":
        if "type" in source.settings:
            return "leave it out: type says it"
        return 'write type = "hvm"' if "hvm".startswith(value) else 'write type = "pv"'
    if known.name == "device_model" and "stubdom-dm" in value:
        return "leave it out: xl ignores it, and a stub domain needs device_model_stubdomain_override = 1"
    if known.name in ("root", "extra"):
        root, extra = source.settings.string("root"), source.settings.string("extra")
        words = [*([] if root is None else [f"root={root}"]), *([] if extra is None else [extra])]
        return f"write cmdline = {quote(' '.join(words))}"
    if known.name == "stdvga" and number is not None:
        return "leave it out: vga says it" if "vga" in source.settings else f'write vga = "{_VGA[bool(number)]}"'
    if known.name == "altp2mhvm" and number is not None:
        return 'write altp2m = "mixed"' if number else "leave it out"
    return _HINTS.get(known.name, "leave it out")


_VGA: Final = {True: "stdvga", False: "cirrus"}

_HINTS: Final = {
    "device_model": "leave it out: xl ignores it",
    "nx": 'leave it out; cpuid = "host,nx=0" hides the bit',
    "vncviewer": "leave it out; xl create -V starts a viewer",
}
"""What to do about outdated keys, where there is more to say than to leave them out."""


def _repeated(written: Sequence[Assignment]) -> Iterator[Finding]:
    """Report settings that a later setting of the same key overwrites."""
    chains: dict[str, list[Assignment]] = {}
    for assignment in written:
        chains.setdefault(assignment.key, []).append(assignment)
    for key, chain in chains.items():
        for earlier, later in pairwise(chain):
            if later.adds:
                continue
            same = earlier.value == later.value and not earlier.adds
            joins = isinstance(earlier.value, list) and isinstance(later.value, list)
            message = f"{key} is set again further down; only the last setting counts"
            hint = "leave it out" + (f", or write {key} += there" if joins and not same else "")
            yield Finding(earlier.start, "repeated-key", message, hint, "note" if same else "warning")
