"""Conversion between MiB, which xl and configurations use, and KiB, which libxl and Xen use."""

from __future__ import annotations

__all__ = ["KIB_PER_MIB", "kib_to_mib", "mib_to_kib"]

KIB_PER_MIB = 1024


def mib_to_kib(mib: float) -> int:
    """Convert MiB to libxl's KiB.

    Args:
        mib: Mebibytes; must be a whole number of KiB.

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
    """Convert libxl's KiB to MiB: an int if it is whole, else an exact fraction.

    Args:
        kib: Kibibytes.

    Returns:
        Mebibytes.
    """
    whole, rest = divmod(kib, KIB_PER_MIB)
    return kib / KIB_PER_MIB if rest else whole
