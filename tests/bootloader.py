"""A bootloader of PV guests, as pygrub is one: it has a menu on the console that libxl gives it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_bootloader"]

_BOOTLOADER = """#!/bin/sh
for each; do
    case $each in --output=*) output=${each#--output=} ;; esac
done
echo "boot menu"
while read -r key; do
    case $key in
        boot*) break ;;
        fail*) exit 1 ;;
    esac
    echo "no such entry: $key"
done
echo "chosen: $key"
cp KERNEL "$0.copy"
printf "kernel $0.copy\\0args from-bootloader\\0" > "$output"
"""


def write_bootloader(path: Path, kernel: str) -> str:
    """Write one that starts a kernel after its user has said ``boot``, and fails after ``fail``; return its path."""
    path.write_text(_BOOTLOADER.replace("KERNEL", kernel))
    path.chmod(0o755)
    return str(path)
