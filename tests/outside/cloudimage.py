"""A cloud image as Debian offers them, small: a disk with one partition, GRUB, Debian's kernel, and cloud-init.

Its parts are Debian's packages. No disk is attached to this machine for it: the file system is written by mke2fs, and
GRUB, which is made for the disk inside the tree, is copied to where its installer would put it.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from lab import apt, tools

__all__ = ["build"]

SUITE = "bookworm"
SECONDS = 900.0
_PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "iproute2", "netplan.io", "openssh-server", "sudo", "cloud-init"),
    *("linux-image-amd64", "grub-common", "grub-pc-bin"),
)
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/i18n/*")
_GRUB = "biosdisk part_msdos ext2 search normal configfile linux echo serial terminal"
_MENU = """set timeout=0
menuentry "Debian" {
    search --label --set root cloudimg-rootfs
    linux /vmlinuz root=LABEL=cloudimg-rootfs ro console=tty0 console=ttyS0,115200 net.ifnames=0
    initrd /initrd.img
}
"""
_INITRAMFS = """#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ext4 xen-blkfront ata_piix sd_mod sr_mod
"""
"""Makes it small: an emulated firmware in an emulated machine reads a large one for many minutes."""
_PATIENT = """[Manager]
DefaultTimeoutStartSec=15min
DefaultDeviceTimeoutSec=15min
"""
"""For systemd: an emulated system has its terminals later than in the usual 90 seconds."""
_LOCALE = "locale: C.UTF-8\n"
"""For cloud-init: there is no other one in so small a system."""
_SECTOR = 512
_START = 2048  # sectors before the partition: room for GRUB
_MEBIBYTES = 1500
_CODE = 446  # bytes of a boot sector before its table of partitions
_LINUX = 0x83


def build(path: Path) -> None:
    """Write the image, as qcow2. It needs root."""
    folder = path.parent / f"{path.name}.d"
    folder.mkdir()
    tree, disk = folder / "tree", folder / "disk"
    (folder / "grub.cfg").write_text(_MENU)
    (folder / "small").write_text(_INITRAMFS)
    (folder / "small").chmod(0o755)
    (folder / "patient.conf").write_text(_PATIENT)
    (folder / "locale.cfg").write_text(_LOCALE)
    initramfs = "/etc/initramfs-tools"
    hooks = [
        f'--extract-hook=mkdir -p "$1{initramfs}/conf.d" "$1{initramfs}/hooks"',
        f'--extract-hook=echo MODULES=list > "$1{initramfs}/conf.d/small"',
        f"--extract-hook=copy-in {folder}/small {initramfs}/hooks",
        f"--customize-hook=chroot \"$1\" grub-mkimage -O i386-pc -o /boot/core.img -p '(hd0,msdos1)/boot/grub' {_GRUB}",
        '--customize-hook=mkdir -p "$1/boot/grub"',
        f"--customize-hook=copy-in {folder}/grub.cfg /boot/grub",
        '--customize-hook=mkdir -p "$1/etc/systemd/system.conf.d"',
        f"--customize-hook=copy-in {folder}/patient.conf /etc/systemd/system.conf.d",
        f"--customize-hook=copy-in {folder}/locale.cfg /etc/cloud/cloud.cfg.d",
        '--customize-hook=echo "LABEL=cloudimg-rootfs / ext4 defaults 0 1" > "$1/etc/fstab"; : > "$1/etc/machine-id"',
    ]
    _as_root(
        *("mmdebstrap", "-q", "--mode=root", "--variant=minbase", "--format=directory"),
        *(f"--include={','.join(_PACKAGES)}", "--aptopt=Acquire::Check-Valid-Until false"),
        *(f"--dpkgopt=path-exclude={each}" for each in _LEFT_OUT),
        *hooks,
        *(SUITE, str(tree), *apt.sources(SUITE)),
    )
    _as_root(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "cloudimg-rootfs", "-d", str(tree)),
        *("-E", f"root_owner=0:0,offset={_START * _SECTOR}", str(disk), f"{_MEBIBYTES}M"),
    )
    first = (tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()[:_CODE]
    core = (tree / "boot/core.img").read_bytes()
    _as_root("chown", f"{os.geteuid()}:{os.getegid()}", str(disk))
    with disk.open("r+b") as file:
        file.write(first + _table() + b"\x55\xaa" + core)
        assert file.tell() <= _START * _SECTOR
    subprocess.run(
        ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(disk), str(path)], check=True, timeout=SECONDS
    )
    _as_root("rm", "-rf", "--one-file-system", str(folder))


def _table() -> bytes:
    """Return a table of partitions with one, which is active and takes all of the disk."""
    sectors = _MEBIBYTES * 2048
    return struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", _LINUX, b"\xfe\xff\xff", _START, sectors) + bytes(48)


def _as_root(*command: str) -> None:
    tools.call(tools.as_root([*command], seconds=SECONDS), what=f"making a cloud image: {command[0]}", seconds=SECONDS)
