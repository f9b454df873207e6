"""Kernels that no CPU ever runs: ELF files with the notes by which Xen's builder knows them."""

from __future__ import annotations

import struct

__all__ = ["pv", "pvh"]

_BASE = 0x100000
_HEADER, _PROGRAM = 64, 56  # sizes of an ELF header and of a program header

_Note = tuple[int, bytes]


def pvh() -> bytes:
    """Return a kernel for a PVH guest."""
    return _elf(_BASE, [(18, struct.pack("<I", _BASE))])  # XEN_ELFNOTE_PHYS32_ENTRY


def pv() -> bytes:
    """Return a kernel for a 64-bit PV guest."""
    start = 0xFFFFFFFF80000000
    return _elf(
        start + _BASE,
        [
            (6, b"other\0"),  # GUEST_OS
            (8, b"generic\0"),  # LOADER
            (5, b"xen-3.0\0"),  # XEN_VERSION
            (3, struct.pack("<Q", start)),  # VIRT_BASE
            (4, struct.pack("<Q", start)),  # PADDR_OFFSET
            (1, struct.pack("<Q", start + _BASE)),  # ENTRY
            (2, struct.pack("<Q", start + _BASE + 0x1000)),  # HYPERCALL_PAGE
        ],
    )


def _elf(address: int, notes: list[_Note]) -> bytes:
    text = b"\xeb\xfe".ljust(0x2000, b"\xf4")  # jmp to itself
    described = b"".join(_note(kind, value) for kind, value in notes)
    text_at = _HEADER + 2 * _PROGRAM
    notes_at = text_at + len(text)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, address, _HEADER, 0, 0, _HEADER, _PROGRAM, 2, 0, 0, 0
    )  # ET_EXEC, EM_X86_64
    load = struct.pack("<IIQQQQQQ", 1, 7, text_at, address, address, len(text), len(text), 0x1000)
    note = struct.pack(
        "<IIQQQQQQ", 4, 4, notes_at, address + len(text), address + len(text), len(described), len(described), 4
    )
    return header + load + note + text + described


def _note(kind: int, value: bytes) -> bytes:
    padded = value.ljust(-(-len(value) // 4) * 4, b"\0")
    return struct.pack("<III", 4, len(value), kind) + b"Xen\0" + padded
