"""Systems of Debian and its relatives, from their packages: mmdebstrap unpacks them, mke2fs makes a disk of them."""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from pyxen._common.arguments import path_of
from pyxen._durations import timeout_of
from pyxen._functions import check_function
from pyxen.config import Disk
from pyxen.errors import ImageError, InvalidArgument, NoNetwork, VolumeInUse
from pyxen.images.access import Access
from pyxen.images.arguments import check_kinds, mebibytes_of
from pyxen.images.image import GuestImage
from pyxen.images.programs import program, run
from pyxen.images.target import Target, new_target, new_volume
from pyxen.images.texts import text_of, texts_of
from pyxen.operation import Progress
from pyxen.storage import VolumeGroup
from pyxen.storage.arguments import absolute_path
from pyxen.storage.tools import disk_errors

__all__ = ["from_distribution"]

_KERNELS: Final = {"x86_64": "linux-image-amd64", "aarch64": "linux-image-arm64"}
_PACKAGES: Final = ("systemd-sysv", "udev", "dbus", "systemd-resolved", "iproute2", "openssh-server")
_SMALLEST_MIB: Final = 256
_DEFAULT_MIB: Final = 4096

_STEPS: Final = (
    ("running apt-get update", "lists of packages"),
    ("downloading packages", "download"),
    ("extracting archives", "unpack"),
    ("installing essential", "base system"),
    ("installing remaining", "packages"),
    ("cleaning package lists", "tidy up"),
)
"""What mmdebstrap says at the beginning of its steps, and how a step is called here."""

_NETWORK: Final = (
    *("Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect"),
    *("Connection failed", "Network is unreachable", "Connection timed out", "Connection refused"),
)
"""What apt says when it reaches no mirror."""

_REFUSED: Final = ("will not make a ", "busy while setting up superblock")
"""What mke2fs says of a device that others use. It has written nothing then."""

_CMDLINE: Final = "root=/dev/xvda ro console=hvc0"

_MENU: Final = """set default=0
set timeout=1
menuentry "Linux" {
    linux /vmlinuz CMDLINE
    initrd /initrd.img
}
""".replace("CMDLINE", _CMDLINE)
"""For pygrub and GRUB. The links at the root of the disk lead to the newest kernel that the system has."""


def from_distribution(
    target: str | os.PathLike[str],
    access: Access,
    *,
    suite: str = "stable",
    mirror: str | Iterable[str] = (),
    packages: Iterable[str] = (),
    kernel: str | None = "",
    group: VolumeGroup | None = None,
    size: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    timeout: float | None = 3600,
) -> GuestImage:
    """Make a disk with a small Debian system, for PV and PVH guests, as ``xen-create-image`` does.

    It has one file system, without partitions: ext4. It gets its address by DHCP unless `access` has one, has a shell
    on the console, and ssh. root logs in. pygrub starts its newest kernel. Only the owner of a new file reads it; one
    that replaces another file has the mode and the owner of that.

    Args:
        target: A new file, or a block device with nothing on it; with `group`, the name of a new volume.
        access: Its name, and how it is reached.
        suite: Release of Debian, or another one that mmdebstrap knows: ``bookworm``, ``trixie``.
        mirror: Where the packages are: a URI, or lines of sources.list. Default: mmdebstrap's.
        packages: More packages.
        kernel: Package of the kernel. Default: Debian's for this machine. None: the configuration must
            name one of the host's, as ``image.config(kernel="/boot/vmlinuz")``.
        group: The volume group in which `target` is created, and removed again if the image is not finished.
        size: MiB of the file or the volume; default 4096. A device has its own size.
        overwrite: Whether what is in the file or on the device may be lost.
        progress: Is called when a step begins, and in the end. If it raises, nothing is made.
        timeout: Seconds for all of it. None: no limit.

    Returns:
        The image, whose `GuestImage.config` starts it as a PVH guest.

    Raises:
        ImageError: It was not made, and nothing is left of it: the error has mmdebstrap's last lines.
        InvalidArgument: A value is not valid.
        NoNetwork: The packages cannot be fetched.
        NotEnoughSpace: The volume group is full, or a file system.
        NotFound: There is no such volume group.
        OperationTimeout: The time was up.
        ToolMissing: mmdebstrap or mke2fs is not installed.
        VolumeExists: There is something already.
        VolumeInUse: The device is mounted or held, or the kernel serves it, or a part of it, to a running guest, also
            one that has got it since this began. What is not seen: a program that has it open without a claim, as QEMU
            has the disks that it serves (``qdisk``), guests of other hosts, and those that get it while it is written.
    """
    if progress is not None:
        check_function(progress, "progress", "image")
    check_kinds(access, group, overwrite=overwrite)
    given = mebibytes_of(size)
    if given is not None:
        _large_enough(given)
    path = absolute_path(target, "image") if group is None else path_of(target, "image")
    seconds = timeout_of(timeout, operation="image")
    end = None if seconds is None else time.monotonic() + seconds
    wanted = [*_PACKAGES, *texts_of(packages, "packages"), *_kernel(kernel)]
    sources = [text_of(mirror, "mirror")] if isinstance(mirror, str) else [*texts_of(mirror, "mirror")]
    for word in (text_of(suite, "suite"), *wanted, *sources):
        if not word or word.startswith("-") or "\n" in word or ("," in word and word in wanted):
            raise InvalidArgument(f"{word!r} is not a valid suite, package or mirror", operation="image")
    if os.geteuid() != 0:
        raise ImageError("a system can be made by root only: its files belong to many users", operation="image")
    for name, package in (("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs"), ("unshare", "util-linux")):
        program(name, package=package)
    hashed = access.password_hash()
    with _place_for(path, group, given, overwrite=overwrite) as place:
        mebibytes = _mebibytes(place, None if group is not None else given)
        tree = place.folder / "tree"
        _unpack(tree, suite, sources, wanted, _teller(progress), end)
        with disk_errors(place.final, "image", ImageError):
            _settle(tree, access, hashed, menu=kernel is not None)
        if progress is not None:
            progress(Progress("disk", 95))
        options = ["-q", "-F", "-t", "ext4", "-L", access.hostname[:16], "-E", "root_owner=0:0", "-d", str(tree)]
        _write(place, ["mke2fs", *options, place.path, f"{mebibytes}M"], end)
        if progress is not None:
            progress(Progress("disk", 100))  # it may raise, and then the disk has not got its name yet
    boot: tuple[tuple[str, str], ...] = (("cmdline", _CMDLINE),) if kernel is None else (("bootloader", "pygrub"),)
    return GuestImage(access.hostname, (Disk(place.final, vdev="xvda"),), (("type", "pvh"), *boot))


def _kernel(kernel: str | None) -> list[str]:
    if kernel is None:
        return []
    chosen = text_of(kernel, "kernel") or _KERNELS.get(platform.machine())
    if chosen is None:
        raise InvalidArgument(f"name the package of the kernel for {platform.machine()}: kernel=", operation="image")
    return [chosen]


def _place_for(
    path: str, group: VolumeGroup | None, size: int | None, *, overwrite: bool
) -> contextlib.AbstractContextManager[Target]:
    if group is None:
        return new_target(path, overwrite=overwrite)
    return new_volume(group, path, _DEFAULT_MIB if size is None else size)


def _mebibytes(place: Target, size: int | None) -> int:
    if place.size is not None:
        if size is not None:
            raise InvalidArgument("a device has its own size: leave size out", operation="image")
        size = place.size >> 20
    return _large_enough(_DEFAULT_MIB if size is None else size)


def _large_enough(size: int) -> int:
    if size < _SMALLEST_MIB:
        raise InvalidArgument(f"{size} MiB are too small for a system: at least {_SMALLEST_MIB}", operation="image")
    return size


def _teller(progress: Callable[[Progress], None] | None) -> Callable[[str], None]:
    def tell(line: str) -> None:
        for number, (beginning, what) in enumerate(_STEPS):
            if progress is not None and line.startswith(f"I: {beginning}"):
                progress(Progress(what, number * 95 // len(_STEPS)))

    return tell


def _unpack(
    tree: Path, suite: str, sources: list[str], packages: list[str], on_line: Callable[[str], None], end: float | None
) -> None:
    """Install packages into a folder.

    mmdebstrap runs in namespaces of its own: what it mounts nobody else sees, and all of it goes with its last process,
    however that ends.
    """
    command = [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}"),
        *("--aptopt=Acquire::Retries 2", "--aptopt=Acquire::http::Timeout 30", suite, str(tree), *sources),
    ]
    try:
        run(command, package="mmdebstrap", on_line=on_line, end=end)
    except ImageError as error:
        if any(sign in line for line in error.log for sign in _NETWORK):
            message = f"the packages of {suite} cannot be fetched: see mmdebstrap's last lines"
            raise NoNetwork(message, operation="image", log=error.log) from None
        message = f"mmdebstrap cannot install {suite}: see mmdebstrap's last lines"
        raise ImageError(message, operation="image", log=error.log) from None


def _write(place: Target, command: list[str], end: float | None) -> None:
    """Run mke2fs, which claims a device before it writes, and refuses one that others use."""
    place.begin(claims=True)
    try:
        run(command, package="e2fsprogs", end=end)
    except ImageError as error:
        if not any(sign in line for line in error.log for sign in _REFUSED):
            raise
        place.spare()
        message = f"{place.final} was mounted or claimed just before mke2fs, which wrote nothing: choose another device"
        raise VolumeInUse(message, operation="image") from error


def _settle(tree: Path, access: Access, hashed: str | None, *, menu: bool) -> None:
    """Write what makes a system of the packages."""
    _put(tree, "etc/hostname", f"{access.hostname}\n")
    _put(tree, "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {access.hostname}\n::1 localhost\n")
    _put(tree, "etc/fstab", "/dev/xvda / ext4 errors=remount-ro 0 1\n")
    _put(tree, "etc/machine-id", "")  # each guest makes its own at its first start
    _put(tree, "etc/systemd/network/20-wired.network", _network(access))
    _link(tree, "etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "systemd-networkd.service")
    if menu:
        _put(tree, "boot/grub/grub.cfg", _MENU)
    if access.ssh_keys:
        _put(tree, "root/.ssh/authorized_keys", "".join(f"{key}\n" for key in access.ssh_keys), mode=0o600)
        (tree / "root/.ssh").chmod(0o700)
    if hashed is not None:
        shadow = tree / "etc/shadow"
        lines = shadow.read_text().splitlines()
        fields = [line.split(":") for line in lines]
        text = "".join(":".join([each[0], hashed, *each[2:]] if each[0] == "root" else each) + "\n" for each in fields)
        with open(shadow, "r+", opener=_not_through_links) as file:
            file.truncate()
            file.write(text)


def _network(access: Access) -> str:
    lines = ["[Match]", "Type=ether", "", "[Network]"]
    if access.address is None:
        lines.append("DHCP=yes")
    else:
        lines.append(f"Address={access.address}")
        lines += [f"Gateway={access.gateway}"] if access.gateway else []
        lines += [f"DNS={each}" for each in access.nameservers]
    return "\n".join(lines) + "\n"


def _put(tree: Path, name: str, text: str, *, mode: int = 0o644) -> None:
    """Write a file of the system, in place of what has its name; never through a link, which may lead outside."""
    path = _place(tree, name)
    with open(path, "x", opener=_not_through_links) as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)


def _link(tree: Path, name: str, unit: str) -> None:
    _place(tree, name).symlink_to(f"/lib/systemd/system/{unit}")


def _place(tree: Path, name: str) -> Path:
    """Return where a file of the system is to be written, after making its folder and removing what has its name."""
    path = tree / name
    if not path.parent.resolve().is_relative_to(tree.resolve()):
        raise ImageError(f"a link in the system leads out of it: {name}", operation="image")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        if stat.S_ISDIR(path.lstat().st_mode):
            raise ImageError(f"a folder is where a file should be: {name}", operation="image")
        path.unlink()
    return path


def _not_through_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
