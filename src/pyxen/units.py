"""Amounts of memory: a configuration counts in MiB, as xl does; libxl and the hypervisor count in KiB."""

from __future__ import annotations

__all__ = ["KIB_PER_MIB", "kib_to_mib", "mib_to_kib"]

KIB_PER_MIB = 1024


def mib_to_kib(mib: float) -> int:
    """Convert MiB of a configuration to libxl's KiB.

    Args:
        mib: Mebibytes; a fraction must come to a whole number of KiB.

    Returns:
        Kibibytes.

    Raises:
        ValueError: The amount is not a whole number of KiB.
    """
    kib = mib * KIB_PER_MIB
    if kib != int(kib):
        raise ValueError(f"{mib} MiB is not a whole number of KiB")
    return int(kib)


def kib_to_mib(kib: int) -> float:
    """Convert libxl's KiB to MiB: an int where it comes out even, else an exact fraction.

    Args:
        kib: Kibibytes.

    Returns:
        Mebibytes.
    """
    whole, rest = divmod(kib, KIB_PER_MIB)
    return kib / KIB_PER_MIB if rest else whole
