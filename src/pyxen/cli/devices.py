"""Commands for the disks, vifs, channels and plainer devices of domains, and for discs of CD-ROM drives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.attaching import (
    Force,
    Verbose,
    Words,
    attach,
    attach_command,
    detach,
    detach_command,
    list_command,
    live,
    show_devices,
)
from pyxen.cli.completion import devices
from pyxen.cli.options import AsJson, DetachTimeout, DomainName, Timeout, Uri, Yes, timeout_option
from pyxen.cli.output import document, table
from pyxen.cli.session import decimal, domain_of, host_at, interrupted_as, report
from pyxen.config import P9, Device, Disk, Vdispl, Vif, Vkb, Vsnd, Vtpm

__all__ = ["COMMANDS"]

Vdev = Annotated[
    str, typer.Argument(metavar="VDEV", autocompletion=devices("disks"), help="The drive, as xvdb or hdc.")
]

DiscTimeout = Annotated[float | None, timeout_option("Give up after this time; the drive may be left empty.")]

_DRIVE: Final = "the drive may be empty now: block-list shows what is in it"


def block_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Attach a disk to a running domain.

    Example: pyxen block-attach web1 phy:/dev/vg0/data xvdb w

    JSON: an object with domid, name, uuid, and device: the disk in xl's text.
    """
    attach(Disk, domain, spec, uri, timeout, as_json=as_json)


def block_detach(
    domain: DomainName,
    vdev: Vdev,
    uri: Uri = "",
    timeout: DetachTimeout = None,
    *,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Detach a disk. It asks before --force.

    Example: pyxen block-detach web1 xvdb

    JSON: an object with domid, name and uuid.
    """
    detach(lambda: vdev, domain, uri, timeout, force=force, yes=yes, as_json=as_json)


def block_list(domain: DomainName, uri: Uri = "", *, verbose: Verbose = False, as_json: AsJson = False) -> None:
    """List the disks of a domain, with the state of the guest's driver. BE is the domain that serves a disk.

    Example: pyxen block-list web1

    JSON: a list of LiveDevice.
    """
    found = live(Disk, domain, uri)
    head = ["Vdev", "BE", "State", "Access", "Format", "Target"]
    show_devices(
        found,
        head,
        lambda each: (
            each.config.vdev,
            each.backend_domid,
            each.frontend_state,
            "r" if each.config.readonly else "w",
            each.config.format,
            each.config.target,
        ),
        verbose=verbose,
        as_json=as_json,
    )


def network_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Attach a vif to a running domain.

    Example: pyxen network-attach web1 bridge=xenbr0

    JSON: an object with domid, name, uuid, and device: the vif in xl's text, with the MAC address that it got.
    """
    attach(Vif, domain, spec, uri, timeout, as_json=as_json)


def network_detach(
    domain: DomainName,
    vif: Annotated[
        str,
        typer.Argument(metavar="MAC|DEVID", autocompletion=devices("vifs"), help="Its MAC address, or its number."),
    ],
    uri: Uri = "",
    timeout: DetachTimeout = None,
    *,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Detach a vif. It asks before --force.

    Example: pyxen network-detach web1 1

    JSON: an object with domid, name and uuid.
    """

    def device() -> Device | str:
        number = decimal(vif)
        return vif if number is None else Vif(devid=number)

    detach(device, domain, uri, timeout, force=force, yes=yes, as_json=as_json)


def network_list(domain: DomainName, uri: Uri = "", *, verbose: Verbose = False, as_json: AsJson = False) -> None:
    """List the vifs of a domain, with the state of the guest's driver. BE is the domain that serves a vif.

    Interface is what a vif is called there.

    Example: pyxen network-list web1

    JSON: a list of LiveDevice.
    """
    found = live(Vif, domain, uri)
    head = ["Idx", "BE", "MAC", "State", "Interface", "Bridge", "Model", "IP"]
    show_devices(
        found,
        head,
        lambda each: (
            each.devid,
            each.backend_domid,
            each.config.mac,
            each.frontend_state,
            each.interface,
            each.bridge if each.bridge is not None else each.config.bridge,
            each.config.model,
            each.config.ip,
        ),
        verbose=verbose,
        as_json=as_json,
    )


def channel_list(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the channels of a domain, with the host's end of each.

    Example: pyxen channel-list web1

    JSON: a list of ChannelEndpoint.
    """
    with host_at(uri) as host:
        channels = domain_of(host, domain).endpoints().channels
    if as_json:
        document([channel.to_dict() for channel in channels])
        return
    rows = [(channel.devid, channel.name, channel.connection, channel.path) for channel in channels]
    table(["Idx", "Name", "Connection", "Path"], rows, numbers=["Idx"])


def cd_insert(
    domain: DomainName,
    vdev: Vdev,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="An ISO image or a block device, on the host.")],
    uri: Uri = "",
    timeout: DiscTimeout = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Insert a disc into a CD-ROM drive, in the place of the one that is there.

    Example: pyxen cd-insert pc hdc /srv/debian.iso

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        with interrupted_as(_DRIVE):
            found.insert_cdrom(vdev, target, timeout=timeout)
        report(found, as_json=as_json)


def cd_eject(
    domain: DomainName, vdev: Vdev, uri: Uri = "", timeout: DiscTimeout = None, *, as_json: AsJson = False
) -> None:
    """Eject the disc of a CD-ROM drive.

    Example: pyxen cd-eject pc hdc

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        with interrupted_as(_DRIVE):
            found.eject_cdrom(vdev, timeout=timeout)
        report(found, as_json=as_json)


_ALIKE: Final[dict[str, tuple[type[Device], str, str]]] = {
    "vtpm": (Vtpm, "vTPM", "backend=vtpmmgr"),
    "vkb": (Vkb, "keyboard", "backend-type=linux"),
    "vdispl": (Vdispl, "display", "connectors=id0:1920x1080"),
    "vsnd": (Vsnd, "sound card", "CARD,short-name=main"),
    "9pfs": (P9, "shared folder", "tag=share,path=/srv/share,security_model=none"),
}
"""The kinds whose commands are alike: class, noun, and an example in xl's words."""

_ALIKE_COMMANDS: Final[dict[str, Callable[..., None]]] = {
    command: made
    for name, (kind, noun, example) in _ALIKE.items()
    for command, made in (
        (f"{name}-attach", attach_command(kind, noun, name, example)),
        (f"{name}-detach", detach_command(kind, noun, name)),
        (f"{name}-list", list_command(kind, noun, name)),
    )
}

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "block-attach": block_attach,
    "block-detach": block_detach,
    "block-list": block_list,
    "network-attach": network_attach,
    "network-detach": network_detach,
    "network-list": network_list,
    "channel-list": channel_list,
    "cd-insert": cd_insert,
    "cd-eject": cd_eject,
    **_ALIKE_COMMANDS,
}
"""The commands of this module by name."""
