"""The entry that the boot loader boots by default, and the line to change so that it boots Xen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.grubmenu import Entry, Menu, read_menu
from pyxen.doctor.hypervisor import installed
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["boot"]

_FOLDERS: Final = ("/boot/grub", "/boot/grub2", "/boot/efi/EFI/fedora")
_SETTINGS: Final = "/etc/default/grub"
_OVERRIDE: Final = "/etc/default/grub.d/xen.cfg"
_OTHER_LOADERS: Final = ("/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries")


def boot(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine whether the next boot is one of Xen."""
    folder = next((each for each in _FOLDERS if around.exists(f"{each}/grub.cfg")), None)
    if folder is None:
        other = around.first(*_OTHER_LOADERS)
        if other is not None:
            message = f"The boot loader is not GRUB ({other}): it boots Xen as xen.efi."
            yield Finding("grub", Severity.NOTE, message, "Add an entry that loads xen.efi, with a xen.cfg beside it.")
        elif facts.is_dom0 or installed(around):
            yield Finding("grub", Severity.NOTE, "No menu of GRUB is found: how this machine boots is not known.")
        return
    text = around.read(f"{folder}/grub.cfg")
    if text is None:
        yield Finding("grub", Severity.NOTE, f"This user may not read {folder}/grub.cfg.", "Run this as root.")
        return
    menu = read_menu(text, around.read(f"{folder}/grubenv") or "")
    yield _judged(around, facts, menu)


def _judged(around: Surroundings, facts: Facts, menu: Menu) -> Finding:
    matters = Severity.WARNING if facts.on_xen or installed(around) else Severity.NOTE
    xen = next((entry for entry in menu.all() if entry.boots_xen), None)
    update = "update-grub" if around.program("update-grub") else "grub2-mkconfig -o /boot/grub2/grub.cfg"
    if xen is None:
        remedy = f"Install the hypervisor (Debian: apt install xen-system-amd64), then {update}."
        return Finding("grub", matters, "GRUB's menu has no entry for Xen.", remedy)
    chosen = menu.chosen()
    if chosen is not None and chosen.boots_xen:
        once = menu.chosen(menu.once) if menu.once else None
        if once is not None and not once.boots_xen:
            message = f"The next boot is {once.path!r}, once, without Xen; later boots are {chosen.path!r}."
            return Finding("grub", Severity.NOTE, message, "grub-editenv - unset next_entry takes that back.")
        later = "" if facts.on_xen else " Reboot, and Xen runs."
        return Finding("grub", Severity.OK, f"GRUB boots Xen by default: {chosen.path!r}.{later}")
    booted = "an entry of another file" if chosen is None else repr(chosen.path)
    message = f"GRUB boots {booted} by default, which is not Xen."
    return Finding("grub", matters, message, f"{_line_to_change(around, menu, xen)}, then {update}")


def _line_to_change(around: Surroundings, menu: Menu, xen: Entry) -> str:
    """Return which line of which file to change so that an entry boots."""
    override = around.read(_OVERRIDE)
    top = next((entry for entry in menu.entries if entry.boots_xen), None)
    if override is not None and top is not None:
        number, line = _assignment(override, "XEN_OVERRIDE_GRUB_DEFAULT")
        if _value(line) not in ("", "1"):
            return f"{_OVERRIDE}, line {number}: change {line} to XEN_OVERRIDE_GRUB_DEFAULT=1"
        if not line.startswith("#") or _value(line) == "":
            return f"{_OVERRIDE} asks for Xen already, and the menu is older"
    wanted = f'GRUB_DEFAULT="{(top or xen).path}"'
    settings = around.read(_SETTINGS)
    if settings is None:
        return f"{_SETTINGS}: write {wanted}"
    number, line = _assignment(settings, "GRUB_DEFAULT")
    if not line or line.startswith("#"):
        return f"{_SETTINGS}: add the line {wanted}"
    return f"{_SETTINGS}, line {number}: change {line} to {wanted}"


def _assignment(text: str, name: str) -> tuple[int, str]:
    """Return the last line that sets a variable of a shell, with its number; else the last that is commented out."""
    found = (0, "")
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(rf"\s*(#?)\s*(?:export\s+)?{name}=", line)
        if match and (not match[1] or not found[1] or found[1].startswith("#")):
            found = (number, line.strip())
    return found


def _value(line: str) -> str:
    return line.partition("=")[2].partition("#")[0].strip().strip("\"'")
