"""``pyxen image``: disks with a system on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, TypeAlias

import typer

from pyxen.cli.files import STANDARD_INPUT, complain, errors, read, said_of, shows_colours
from pyxen.cli.options import AsJson, Timeout
from pyxen.cli.output import cell, content, document
from pyxen.cli.session import ended_in_order, interrupted_as, told
from pyxen.cli.status import ExitStatus
from pyxen.config import DomainConfig
from pyxen.images import Access, GuestImage, from_cloud_image, from_distribution
from pyxen.operation import Progress as Step
from pyxen.storage import VolumeGroup

__all__ = ["COMMANDS"]

Target: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="A new file, or a block device with nothing on it; with --vg, the name of a new volume.",
        show_default=False,
    ),
]
Hostname: TypeAlias = Annotated[
    str, typer.Option("--hostname", metavar="NAME", help="The guest's name.", show_default=False)
]
SshKey: TypeAlias = Annotated[
    list[str] | None, typer.Option("--ssh-key", metavar="FILE", help="A file with public keys, which may log in.")
]
Password: TypeAlias = Annotated[
    str, typer.Option("--password-file", metavar="FILE", help="A file with the password, or its hash; - is stdin.")
]
Address: TypeAlias = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS/BITS", help="Its address. Default: DHCP.")
]
Gateway: TypeAlias = Annotated[str | None, typer.Option("--gateway", metavar="ADDRESS", help="Its default gateway.")]
Nameserver: TypeAlias = Annotated[
    list[str] | None, typer.Option("--nameserver", metavar="ADDRESS", help="One of its name servers.")
]
Group: TypeAlias = Annotated[
    str | None,
    typer.Option("--vg", metavar="GROUP", help="Create the volume TARGET in this volume group of LVM."),
]
Size: TypeAlias = Annotated[int | None, typer.Option("--size", metavar="MIB", min=1, help="Size of the disk.")]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="What is there may be lost.")]


def distribution(
    target: Target,
    hostname: Hostname,
    suite: Annotated[str, typer.Option("--suite", help="The release of Debian: bookworm, trixie.")] = "stable",
    mirror: Annotated[
        list[str] | None, typer.Option("--mirror", metavar="URI", help="Where the packages are. Default: mmdebstrap's.")
    ] = None,
    packages: Annotated[
        list[str] | None, typer.Option("--package", metavar="PACKAGE", help="One more package.")
    ] = None,
    host_kernel: Annotated[
        str | None,
        typer.Option("--host-kernel", metavar="FILE", help="Install no kernel: this file of the host starts it."),
    ] = None,
    host_ramdisk: Annotated[
        str | None, typer.Option("--host-ramdisk", metavar="FILE", help="The ramdisk for --host-kernel.")
    ] = None,
    ssh_key: SshKey = None,
    password_file: Password = "",
    address: Address = None,
    gateway: Gateway = None,
    nameserver: Nameserver = None,
    vg: Group = None,
    size: Size = None,
    timeout: Timeout = None,
    *,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a disk with a small Debian system, for PV and PVH guests, and print the configuration that starts it.

    It needs root, and mmdebstrap.

    Example: pyxen image distribution web1 --vg vg0 --hostname web1 --suite trixie --ssh-key key.pub > web1.cfg

    JSON: an object with hostname, disks, which are paths, and config, a text in xl's language.
    """
    if host_ramdisk is not None and host_kernel is None:
        raise typer.BadParameter("--host-ramdisk goes with --host-kernel")
    with _making(f"make {target}") as progress:
        image = from_distribution(
            target,
            _access(hostname, ssh_key, password_file, address, gateway, nameserver),
            suite=suite,
            mirror=mirror or (),
            packages=packages or (),
            kernel="" if host_kernel is None else None,
            group=None if vg is None else VolumeGroup(vg),
            size=size,
            overwrite=overwrite,
            progress=progress,
            timeout=timeout,
        )
    own = {} if host_kernel is None else {"kernel": host_kernel, "ramdisk": host_ramdisk}
    _show(image, image.config(**own), as_json=as_json)


def cloud(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The cloud image.", show_default=False)],
    target: Target,
    hostname: Hostname,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="FILE", help="The CD. Default: TARGET's name with -seed.iso.")
    ] = None,
    ssh_key: SshKey = None,
    password_file: Password = "",
    address: Address = None,
    gateway: Gateway = None,
    nameserver: Nameserver = None,
    vg: Group = None,
    size: Size = None,
    timeout: Timeout = None,
    *,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a guest's disk from a cloud image of a distribution, with a CD that has its first settings for cloud-init.

    It prints the configuration that starts the guest, and needs qemu-img and genisoimage or xorriso.

    Example: pyxen image cloud debian-12.qcow2 /srv/web1.qcow2 --hostname web1 --ssh-key key.pub > web1.cfg

    JSON: an object with hostname, disks, which are paths, and config, a text in xl's language.
    """
    with _making(f"make {target}") as progress:
        image = from_cloud_image(
            source,
            target,
            _access(hostname, ssh_key, password_file, address, gateway, nameserver),
            seed=seed,
            group=None if vg is None else VolumeGroup(vg),
            size=size,
            overwrite=overwrite,
            progress=progress,
            timeout=timeout,
        )
    _show(image, image.config(), as_json=as_json)


def _access(
    hostname: str,
    ssh_key: list[str] | None,
    password_file: str,
    address: str | None,
    gateway: str | None,
    nameserver: list[str] | None,
) -> Access:
    keys = [line for file in ssh_key or () for line in _text(file).splitlines() if line.strip()]
    password = _text(password_file).rstrip("\r\n") if password_file else None
    return Access(
        hostname,
        ssh_keys=keys,
        password=password,
        address=address,
        gateway=gateway,
        nameservers=nameserver or (),
    )


def _text(file: str) -> str:
    """Return the text of a file that goes into the guest as it is; only the mark that some editors begin with goes."""
    try:
        return read(file).decode("utf-8-sig")
    except OSError as error:
        complain(said_of(file, error))
    except UnicodeDecodeError as error:
        name = "<stdin>" if file == STANDARD_INPUT else file
        complain(f"{name}: byte {error.start + 1} is not UTF-8: convert the file, with iconv -t UTF-8")
    raise typer.Exit(ExitStatus.USAGE)


@contextlib.contextmanager
def _making(title: str) -> Iterator[Callable[[Step], None] | None]:
    """Have a bar on standard error if that is a terminal, and end the command in order if something goes wrong."""
    with told(), ended_in_order(), interrupted_as("what had been made was removed, if that was not interrupted, too"):
        if not shows_colours():
            yield None
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=errors(), transient=True) as bar:
            task = bar.add_task(cell(title), total=100, what="")
            yield lambda step: bar.update(task, completed=step.percent, what=cell(step.what))


def _show(image: GuestImage, config: DomainConfig, *, as_json: bool) -> None:
    from pyxen import xlcfg

    with told():
        text = xlcfg.dumps(config)
    if as_json:
        document({"hostname": image.hostname, "disks": [disk.target for disk in image.disks], "config": text})
    else:
        content(text.rstrip("\n") + "\n")


COMMANDS: Final[dict[str, Callable[..., None]]] = {"distribution": distribution, "cloud": cloud}
"""The commands of this module by name."""
