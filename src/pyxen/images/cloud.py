"""Guests from the cloud images of distributions: a copy of the image, and a CD with the guest's first settings."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pyxen._common.arguments import path_of
from pyxen._durations import timeout_of
from pyxen._functions import check_function
from pyxen.config import Disk
from pyxen.errors import ImageError, InvalidArgument
from pyxen.images.access import Access
from pyxen.images.arguments import check_kinds, mebibytes_of
from pyxen.images.image import GuestImage
from pyxen.images.programs import program, run
from pyxen.images.source import Source, opened
from pyxen.images.target import Target, new_target, new_volume
from pyxen.operation import Progress
from pyxen.storage import VolumeGroup
from pyxen.storage.arguments import absolute_path
from pyxen.storage.tools import disk_errors

__all__ = ["from_cloud_image"]

_VOLUME: Final = "CIDATA"
"""The name by which cloud-init finds the CD of its data source NoCloud."""

_CD_PROGRAMS: Final = ("genisoimage", "xorrisofs", "mkisofs")


def from_cloud_image(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    access: Access,
    *,
    seed: str | os.PathLike[str] | None = None,
    group: VolumeGroup | None = None,
    size: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    timeout: float | None = 3600,
) -> GuestImage:
    """Make a guest's disk from a cloud image of a distribution, and the CD that cloud-init reads at the first start.

    The user of the image, who is ``debian`` or ``ubuntu`` or the like, logs in with the key or the password. Only the
    owner of the new files reads them; one that replaces another file has the mode and the owner of that.

    Args:
        source: The image: the qcow2 file that the distribution offers. raw, vmdk, vdi, vhdx and vpc are read, too. One
            that refers to other files is refused before qemu-img opens it, for they could be any of the host's. Nobody
            else may be able to change the file while it is copied.
        target: A new file, which becomes qcow2, or a block device with nothing on it; with `group`, the name of a new
            volume.
        access: Its name, and how it is reached.
        seed: The file for the CD. Default: beside a file, with ``-seed.iso`` at its end; a device and a volume have no
            default.
        group: The volume group in which `target` is created, and removed again if the image is not finished.
        size: MiB of the new disk. Default: as the image; a device has its own size.
        overwrite: Whether what is in the files or on the device may be lost.
        progress: Is called when a step begins, and in the end. If it raises, nothing is made.
        timeout: Seconds for all of it. None: no limit.

    Returns:
        The image, whose `GuestImage.config` starts it as an HVM guest, by its own boot loader. Its console is the
        serial port, where cloud images write and ask for a login.

    Raises:
        ImageError: qemu-img or the program for the CD failed, or the image refers to other files or cannot be read.
        FileMissing: The cloud image is not there.
        InvalidArgument: A value is not valid.
        NotEnoughSpace: The volume group is full, or a file system.
        NotFound: There is no such volume group.
        OperationTimeout: The time was up.
        ToolMissing: A program is not installed.
        VolumeExists: There is something already.
        VolumeInUse: The device is mounted or held, or the kernel serves it, or a part of it, to a running guest, also
            one that has got it since this began. What is not seen: a program that has it open without a claim, as QEMU
            has the disks that it serves (``qdisk``), guests of other hosts, and those that get it while it is written.
    """
    if progress is not None:
        check_function(progress, "progress", "image")
    check_kinds(access, group, overwrite=overwrite)
    mebibytes = mebibytes_of(size)
    source = absolute_path(source, "image")
    path = absolute_path(target, "image") if group is None else path_of(target, "image")
    if group is not None and seed is None:
        raise InvalidArgument("say which file the CD of a volume is to be: seed=", operation="image")
    cd = absolute_path(f"{os.path.splitext(path)[0]}-seed.iso" if seed is None else seed, "image")
    if cd in (source, path):
        raise InvalidArgument(f"the CD is a file of its own: {cd} is the image", operation="image")
    seconds = timeout_of(timeout, operation="image")
    end = None if seconds is None else time.monotonic() + seconds
    for names, package in ((("qemu-img",), "qemu-utils"), (_CD_PROGRAMS, "genisoimage")):
        program(*names, package=package)
    hashed = access.password_hash()
    with opened(source, end) as image, contextlib.ExitStack() as undone:
        if mebibytes is not None:
            _check_size(image, mebibytes << 20)
        with _place_for(path, group, mebibytes, image, overwrite=overwrite) as place:
            if place.size is not None:
                _check_device(image, place.size, seed, None if group is not None else mebibytes)
            with new_target(cd, overwrite=overwrite) as seeded:
                if seeded.size is not None:
                    raise InvalidArgument(f"the CD is a file, and {cd} is a device", operation="image")
                _tell(progress, "CD", 0)
                _write_cd(seeded.path, seeded.folder, access, hashed, end)
                _tell(progress, "disk", 5)
                _copy(image, place, None if group is not None else mebibytes, end)
                _tell(progress, "disk", 100)  # it may raise, and then nothing has its name yet
            undone.callback(Path(cd).unlink, missing_ok=True)  # unless the disk gets its name, too
        undone.pop_all()
    disk = Disk(place.final, vdev="hda", format="raw" if place.size is not None else "qcow2")
    settings = (("type", "hvm"), ("boot", "c"), ("serial", ("pty",)))
    return GuestImage(access.hostname, (disk, Disk(cd, vdev="hdc", cdrom=True)), settings)


def _place_for(
    path: str, group: VolumeGroup | None, mebibytes: int | None, image: Source, *, overwrite: bool
) -> contextlib.AbstractContextManager[Target]:
    if group is None:
        return new_target(path, overwrite=overwrite)
    return new_volume(group, path, -(-image.size >> 20) if mebibytes is None else mebibytes)


def _tell(progress: Callable[[Progress], None] | None, what: str, percent: int) -> None:
    if progress is not None:
        progress(Progress(what, percent))


def _check_size(image: Source, size: int) -> None:
    if size < image.size:
        needed = -(-image.size >> 20)
        raise InvalidArgument(f"the image needs {needed} MiB, and {size >> 20} are too few", operation="image")


def _check_device(image: Source, size: int, seed: object, mebibytes: int | None) -> None:
    if seed is None:
        raise InvalidArgument("say which file the CD of a device is to be: seed=", operation="image")
    if mebibytes is not None:
        raise InvalidArgument("a device has its own size: leave size out", operation="image")
    _check_size(image, size)


def _copy(image: Source, place: Target, mebibytes: int | None, end: float | None) -> None:
    kind = ["-n", "-O", "raw"] if place.size is not None else ["-O", "qcow2"]
    place.begin(claims=False)
    run(["qemu-img", "convert", "-f", image.format, *kind, image.path, place.path], package="qemu-utils", end=end)
    if mebibytes is not None:
        resize = ["qemu-img", "resize", "-q", "-f", "qcow2", place.path, str(mebibytes << 20)]
        run(resize, package="qemu-utils", end=end)


def _write_cd(path: str, folder: Path, access: Access, hashed: str | None, end: float | None) -> None:
    content = folder / "cd"
    with disk_errors(str(content), "image", ImageError):
        content.mkdir()
        for name, text in _seed(access, hashed).items():
            (content / name).write_text(text)
    maker = os.path.basename(program(*_CD_PROGRAMS, package="genisoimage"))
    made = folder / "cd.iso"  # xorrisofs writes through no links, as the path of the target is one
    options = ["-quiet", "-volid", _VOLUME, "-joliet", "-rock", "-output", str(made)]
    run([maker, *options, str(content)], package="genisoimage", end=end)
    with disk_errors(path, "image", ImageError):
        shutil.copyfile(made, path)


def _seed(access: Access, hashed: str | None) -> dict[str, str]:
    """Return the files of the CD; cloud-init reads YAML, and JSON is YAML."""
    meta = {"instance-id": str(uuid.uuid4()), "local-hostname": access.hostname}
    user: dict[str, Any] = {"hostname": access.hostname, "ssh_authorized_keys": [*access.ssh_keys]}
    if hashed is not None:
        user |= {"password": hashed, "chpasswd": {"expire": False}, "ssh_pwauth": True}
    return {
        "meta-data": json.dumps(meta, indent=1),
        "user-data": f"#cloud-config\n{json.dumps(user, indent=1)}",
        "network-config": json.dumps({"version": 2, "ethernets": {"first": _card(access)}}, indent=1),
    }


def _card(access: Access) -> dict[str, Any]:
    card: dict[str, Any] = {"match": {"name": "e*"}}
    if access.address is None:
        return card | {"dhcp4": True}
    card["addresses"] = [access.address]
    if access.gateway is not None:
        everywhere = "::/0" if ipaddress.ip_address(access.gateway).version == 6 else "0.0.0.0/0"
        card["routes"] = [{"to": everywhere, "via": access.gateway}]
    if access.nameservers:
        card["nameservers"] = {"addresses": [*access.nameservers]}
    return card
