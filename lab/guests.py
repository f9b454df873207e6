"""The guests that tests run: tiny kernels of our own, and Debian's Linux with a busybox initramfs.

In dom0 they lie in ``/usr/share/pyxen-guests``:

- ``tiny-pvh``, ``tiny-pv``: kernels of a few hundred bytes; ``memory=4`` suffices (a PVH guest of less than 32 MiB
  needs ``shadow_memory=1`` too, on Xen 4.20). The command line says what they do: ``poweroff``, ``reboot``,
  ``suspend``, ``crash`` or ``watchdog``; with anything else they idle, and ignore ``xl shutdown``. With ``willing``,
  ``tiny-pv`` prints ``pyxen-guest ready``, obeys ``xl shutdown`` and ``xl reboot``, and can be saved and restored.
- ``tiny-hvm.img``: a disk whose boot sector prints ``pyxen-guest ready`` (screen and serial port) and halts.
- ``vmlinux``, ``initramfs``: Linux for PV and PVH guests of 128 MiB or more. Prints ``pyxen-guest ready``, has a shell
  on its console, obeys ``xl shutdown`` and ``xl reboot``. ``pyxen.ip=ADDRESS/BITS`` on its command line configures
  eth0 (the bridge xenbr0 is 192.168.77.1/24); ``pyxen.stress=SECONDS`` checksums under load and prints the outcome.
- ``vmlinuz``: the same kernel as Debian ships it, compressed: for HVM guests and for GRUB, which take no other.
- ``installer.iso``: a CD that boots to a menu with "Install the example system", which installs nothing.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lab import tools
from lab.cache import HERE
from lab.cpio import Archive

SOURCES = HERE / "guests"
IN_DOM0 = "/usr/share/pyxen-guests"
LINUX_MODULES = ["xen-blkfront", "xen-netfront", "ext4"]

_FREESTANDING = [
    *("-Os", "-Wall", "-Wextra", "-ffreestanding", "-nostdinc", "-fno-pie", "-mno-red-zone", "-mgeneral-regs-only"),
    *("-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"),
    "-fno-tree-loop-distribute-patterns",  # else it would need memcpy
]
"""What C for a machine without a system is compiled with, whatever a distribution's gcc does by default."""


def build_tiny(out: Path) -> None:
    """Compile and link the tiny guests into a folder, at native speed."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, bits, emulation in (("tiny-pvh", "-m32", "elf_i386"), ("tiny-pv", "-m64", "elf_x86_64")):
            binary = out / name
            objects = [_compiled(f"{name}.S", bits, scratch)]
            if name == "tiny-pv":
                objects.append(_compiled("willing.c", bits, scratch))
            script = ["-T", str(SOURCES / "tiny.ld")]
            flags = ["-m", emulation, "-N", "-s", "--build-id=none", "--no-warn-rwx-segments", "-z", "noexecstack"]
            tools.call(["ld", *flags, *script, "-o", str(binary), *objects], what=f"linking {name}")
            binary.chmod(0o644)
        boot = _compiled("tiny-hvm.S", "-m32", scratch)
        sector = Path(scratch) / "sector"
        flat = ["-m", "elf_i386", "--oformat", "binary", "-Ttext", "0x7c00"]
        tools.call(["ld", *flat, "-o", str(sector), boot], what="linking tiny-hvm")
        disk = out / "tiny-hvm.img"
        disk.write_bytes(sector.read_bytes())
        os.truncate(disk, 1 << 20)


def _compiled(source: str, bits: str, scratch: str) -> str:
    """Compile a guest's source, in C or assembly, and return the object file."""
    result = f"{scratch}/{source}.o"
    argv = ["gcc", bits, *_FREESTANDING, "-c", "-o", result, str(SOURCES / source)]
    tools.call(argv, what=f"compiling {source}")
    return result


def linux_initramfs(busybox: bytes, modules: list[tuple[str, bytes]], out: Path) -> None:
    """Write the Linux guest's initramfs.

    Args:
        busybox: A statically linked busybox.
        modules: File names and contents of the kernel modules, in the order to load them.
        out: The file to write.
    """
    archive = Archive()
    archive.console()
    archive.folder("bin", "sbin", "etc", "proc", "sys", "tmp", "mnt", "modules")
    archive.file("bin/busybox", busybox, 0o755)
    archive.file("init", (SOURCES / "linux-init").read_bytes(), 0o755)
    for name in ("poweroff", "reboot"):
        archive.file(f"sbin/{name}", (SOURCES / "linux-halt").read_bytes(), 0o755)
    for name, data in modules:
        archive.file(f"modules/{name}", data)
    archive.save(out)
