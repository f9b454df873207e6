"""dom0's disk and kernels, made from Debian's packages and kept in the cache."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import apt, cache, guests, kernels, tools
from lab.cache import HERE
from lab.cpio import Archive
from lab.progress import say

if TYPE_CHECKING:
    from pathlib import Path

    from lab.releases import Release

_DISK_SIZE = "3G"
_BOOT_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
_MODULES = [
    *("virtio_pci", "virtio_blk", "virtio_console", "virtio_net"),
    *("ext4", "crc32c_generic", "overlay", "loop", "nbd", "isofs", "vfat"),
    *("tun", "bridge", "stp", "llc", "veth", "8021q", "dm-mod", "dm-snapshot", "dm-thin-pool"),
    *("xen-evtchn", "xenfs", "xen-privcmd", "xen-gntdev", "xen-gntalloc", "xen-blkback", "xen-netback"),
    *("xen-blkfront", "xen-netfront"),
    *("xen-pciback", "xhci_pci"),  # tests load these two
]


@dataclass(frozen=True)
class Image:
    """A finished image.

    Attributes:
        folder: Holds `disk.img` (dom0's root), `initrd`, `vmlinux` (dom0's kernel) and `xen` (the hypervisor).
        key: The hash of what went into it.
    """

    folder: Path
    key: str

    @property
    def build(self) -> str:
        """What tells this build from others of the same key, which have other ssh keys and times in them."""
        return cache.key_of([self.key, str((self.folder / "disk.img").stat().st_mtime_ns)])


def _key(release: Release) -> str:
    own = [HERE / f"{name}.py" for name in ("apt", "cpio", "guests", "image", "kernels")]
    files = [*own, *(HERE / "dom0").iterdir(), *(HERE / "guests").iterdir()]
    return cache.key_of([release.xen, release.suite, *release.packages], [path for path in files if path.is_file()])


def find(release: Release) -> Image | None:
    """The image of a release if it is in the cache and up to date."""
    key = _key(release)
    folder = cache.root() / release.xen / "image" / key
    return Image(folder, key) if folder.is_dir() else None


def build(release: Release) -> Image:
    """The image of a release; built if it is not in the cache.

    Raises:
        LabError: A tool is missing, we cannot become root, or a step of the build failed.
    """
    found = find(release)
    if found:
        return found
    tools.require(tools.BUILD_TOOLS)
    key = _key(release)
    return Image(cache.made(cache.root() / release.xen / "image", key, lambda work: _make(release, work)), key)


def _make(release: Release, work: Path) -> None:
    tree = work / "tree"
    say(f"Xen {release.xen}: unpacking Debian {release.suite} for dom0 (about 40 s)")
    apt.unpack(release.suite, release.packages, tree, work / "mmdebstrap.log")
    say(f"Xen {release.xen}: finishing dom0's file system")
    tools.call(
        tools.as_root(["sh", str(HERE / "dom0" / "finish.sh"), str(tree), str(HERE / "dom0"), *_MODULES]),
        what="finishing dom0",
    )
    _write_kernels(release, tree, work)
    shipped = work / "guests"
    _write_guests(tree, work / "vmlinux", shipped)
    shutil.copyfile(tree / "boot" / f"vmlinuz-{kernels.kernel_version(tree)}", shipped / "vmlinuz")
    tools.call(
        tools.as_root(["cp", "--no-preserve=ownership", "-r", f"{shipped}/.", f"{tree}{guests.IN_DOM0}"]),
        what="adding the guests",
    )
    tools.call(tools.as_root(["rm", "-rf", str(tree / "boot")]), what="removing /boot")
    say(f"Xen {release.xen}: writing the disk")
    disk = work / "disk.img"
    features = ["-O", "^has_journal,^metadata_csum", "-E", "lazy_itable_init=0,nodiscard", "-m", "0", "-L", "dom0"]
    tools.call(
        tools.as_root(["mke2fs", "-q", "-t", "ext4", *features, "-d", str(tree), str(disk), _DISK_SIZE]), what="mke2fs"
    )
    tools.call(tools.as_root(["chown", f"{os.geteuid()}:{os.getegid()}", str(disk)]), what="chown")
    tools.call(tools.as_root(["rm", "-rf", "--one-file-system", str(tree)]), what="removing the tree")
    shutil.rmtree(shipped)


def _write_kernels(release: Release, tree: Path, work: Path) -> None:
    version = kernels.kernel_version(tree)
    (work / "vmlinux").write_bytes(kernels.vmlinux((tree / "boot" / f"vmlinuz-{version}").read_bytes()))
    (work / "xen").write_bytes(kernels.hypervisor(tree, release.xen))
    archive = Archive()
    archive.console()
    archive.folder("bin", "proc", "sys", "disk", "modules")
    archive.file("bin/busybox", (tree / "usr/bin/busybox").read_bytes(), 0o755)
    archive.file("init", (HERE / "dom0" / "initramfs-init").read_bytes(), 0o755)
    for name, data in kernels.module_files(tree, _BOOT_MODULES):
        archive.file(f"modules/{name}", data)
    archive.save(work / "initrd")


def _write_guests(tree: Path, kernel: Path, shipped: Path) -> None:
    shipped.mkdir()
    guests.build_tiny(shipped)
    modules = kernels.module_files(tree, guests.LINUX_MODULES)
    guests.linux_initramfs((tree / "usr/bin/busybox").read_bytes(), modules, shipped / "initramfs")
    shutil.copyfile(kernel, shipped / "vmlinux")
