"""Keys of a domain's identity and of its boot: ``type``, ``uuid``, ``cmdline``, ``firmware`` and similar ones."""

from __future__ import annotations

import re
from typing import Final

from pyxen._printable import quoted
from pyxen.config import ActionOnShutdown, BiosType, DomainType
from pyxen.xlcfg.item_grammar import unique_id
from pyxen.xlcfg.read_state import Reader, XlReadState
from pyxen.xlcfg.source import Source

__all__ = ["ACTIONS", "READERS", "is_hvmloader", "read_boot", "read_type", "split_arguments"]


_FIRMWARE_FOLDER: Final = "/usr/lib/xen/boot"
"""The default folder of Xen's firmware. xl uses the folder of its build: Debian's is ``/usr/lib/xen-4.NN/boot``."""

ACTIONS: Final = {
    "rename-restart" if one is ActionOnShutdown.RESTART_RENAME else one.replace("_", "-"): one
    for one in ActionOnShutdown
}
"""xl's names of the actions on shutdown."""

_BIOSES: Final = {one.value: one for one in BiosType}

_ARGUMENT: Final = re.compile(r"[^ \t\n]+")


def read_type(source: Source) -> DomainType:
    """Return the type of guest.

    Raises:
        ParseError: ``type`` or ``builder`` names none, or they contradict each other.
    """
    found = None
    value = source.string("type")
    if value is not None:
        # xl compares as many characters as there are: "h" is hvm, and so is "".
        found = next((one for one in ("hvm", "pv", "pvh") if one.startswith(value)), None)
        if found is None:
            raise source.error("type", f"{quoted(value)} is not a type of guest; it can be hvm, pvh or pv")
    builder = source.string("builder")
    if builder is None:
        return DomainType(found or "pv")
    built = "hvm" if "hvm".startswith(builder) else "pv" if "generic".startswith(builder) else None
    if built is None:
        raise source.error("builder", f"{quoted(builder)} is not a builder; write type='hvm', 'pvh' or 'pv' instead")
    if found is not None and found != built:
        raise source.error("builder", f"builder={quoted(builder)} contradicts type={quoted(value)}; remove builder")
    return DomainType(built)


def _uuid(draft: XlReadState, name: str) -> None:
    value = draft.source.string(name)
    if value is not None:
        draft.fields["uuid"] = draft.source.read(name, lambda: unique_id(value))


def read_boot(draft: XlReadState) -> None:
    """Read what several keys set together: the command line, the firmware and the kernel.

    Raises:
        ParseError: xl would refuse it.
    """
    _cmdline(draft)
    _firmware(draft)


def _cmdline(draft: XlReadState) -> None:
    root, extra = draft.settings.string("root"), draft.settings.string("extra")
    if root is None and extra is None:
        return
    if "cmdline" in draft.fields:
        for name in ("root", "extra"):
            if name in draft.settings:
                draft.source.note(name, "xl ignores it beside cmdline")
    elif extra is None or root is None:
        draft.fields["cmdline"] = extra if root is None else f"root={root}"
    else:
        draft.fields["cmdline"] = f"root={root} {extra}"


def _firmware(draft: XlReadState) -> None:
    firmware = draft.source.string("firmware")
    kernel = draft.fields.get("kernel")
    if draft.guest is DomainType.HVM:
        if kernel is not None and is_hvmloader(kernel):
            del draft.fields["kernel"]
            draft.source.note("kernel", "xl ignores it: hvmloader is loaded anyway", code="outdated-key")
        _hvm_firmware(draft, firmware)
        return
    if firmware is not None:
        if kernel is not None:
            raise draft.source.error("firmware", "kernel and firmware exclude each other")
        if not ("pvgrub32".startswith(firmware) or "pvgrub64".startswith(firmware)):
            raise draft.source.error(
                "firmware",
                f"{quoted(firmware)} is not a firmware for such guests; pvgrub32 and pvgrub64 are",
            )
        draft.fields["kernel"] = f"{_FIRMWARE_FOLDER}/{firmware}.bin"
    if "kernel" not in draft.fields and "bootloader" not in draft.fields:
        raise draft.source.error("kernel", f"a {draft.guest.upper()} guest needs a kernel, or a bootloader")


def _hvm_firmware(draft: XlReadState, firmware: str | None) -> None:
    if firmware is None:
        return
    bios = _BIOSES.get(firmware.lower())
    if bios is not None:
        draft.fields["bios"] = bios
    elif "uefi".startswith(firmware):
        draft.fields["bios"] = BiosType.OVMF
    elif not "bios".startswith(firmware):
        draft.fields["firmware_override"] = firmware


def is_hvmloader(kernel: str) -> bool:
    """Return whether a kernel is the firmware that xl ignores as a kernel."""
    return kernel.rpartition("/")[2] == "hvmloader"


def split_arguments(text: str) -> list[str]:
    """Split the old form of ``bootloader_args``, a single string, as xl does."""
    return _ARGUMENT.findall(text)


def _bootloader_args(draft: XlReadState, name: str) -> None:
    value = draft.settings.value(name)
    if isinstance(value, str):
        draft.fields[name] = split_arguments(value)
    else:
        draft.fields[name] = draft.source.items(name)


def _action(draft: XlReadState, name: str) -> None:
    value = draft.source.string(name)
    if value is not None:
        if value not in ACTIONS:
            raise draft.source.error(name, f"{quoted(value)} is not an action; it can be {', '.join(ACTIONS)}")
        draft.fields[name] = ACTIONS[value]


READERS: Final[dict[str, Reader]] = {
    "uuid": _uuid,
    "bootloader_args": _bootloader_args,
    **dict.fromkeys(("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"), _action),
}
"""Readers by key."""
