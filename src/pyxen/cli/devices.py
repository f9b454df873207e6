"""Commands for the devices of domains: attach, detach, list, and discs of CD-ROM drives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from pyxen.cli.files import complain
from pyxen.cli.options import AsJson, DomainName, Timeout, Uri, Yes
from pyxen.cli.output import document, say, table
from pyxen.cli.session import confirm, domain_of, host_at, named, report
from pyxen.config import P9, Device, Disk, Vdispl, Vif, Vkb, Vsnd, Vtpm
from pyxen.config.device_table import KINDS
from pyxen.domain import Domain
from pyxen.errors import ConfigError, LossyConversion

__all__ = ["COMMANDS"]

D = TypeVar("D", bound=Device)

Words = Annotated[
    list[str], typer.Argument(metavar="SPEC", help="The device in xl.cfg's words, with commas or as arguments.")
]
Devid = Annotated[str, typer.Argument(metavar="DEVID", help="Its number, as its list shows it.")]
Vdev = Annotated[str, typer.Argument(metavar="VDEV", help="The drive, as xvdb or hdc.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="At once: what the guest has not written is lost.")]


def block_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Attach a disk to a running domain.

    Example: pyxen block-attach web1 phy:/dev/vg0/data xvdb w

    JSON: an object with domid, name, uuid, and device: the disk in xl's text.
    """
    _attach(Disk, domain, spec, uri, timeout, as_json=as_json)


def block_detach(
    domain: DomainName,
    vdev: Vdev,
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Detach a disk. On a terminal it asks before --force.

    JSON: an object with domid, name and uuid.
    """
    _detach(vdev, domain, uri, timeout, force=force, yes=yes, as_json=as_json)


def block_list(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the disks of a domain.

    JSON: a list of disks in libxl's JSON.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        config = found.config()
        if as_json:
            document(_libxl_json(found, Disk))
            return
        states = {disk.vdev: disk.state for disk in found.stats().disks} if host.supports("stats") else {}
    rows = [
        (disk.vdev, states.get(disk.vdev or ""), "r" if disk.readonly else "w", disk.format, disk.target)
        for disk in config.disks
    ]
    table(["Vdev", "State", "Access", "Format", "Target"], rows)


def network_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Attach a vif to a running domain.

    Example: pyxen network-attach web1 bridge=xenbr0

    JSON: an object with domid, name, uuid, and device: the vif in xl's text, with the MAC address that it got.
    """
    _attach(Vif, domain, spec, uri, timeout, as_json=as_json)


def network_detach(
    domain: DomainName,
    vif: Annotated[str, typer.Argument(metavar="MAC|DEVID", help="Its MAC address, or its number.")],
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Detach a vif. On a terminal it asks before --force.

    JSON: an object with domid, name and uuid.
    """
    device = Vif(devid=int(vif)) if vif.isascii() and vif.isdecimal() else vif
    _detach(device, domain, uri, timeout, force=force, yes=yes, as_json=as_json)


def network_list(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the vifs of a domain.

    JSON: a list of vifs in libxl's JSON.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        if as_json:
            document(_libxl_json(found, Vif))
            return
        vifs = found.config().vifs
    rows = [
        (place if vif.devid is None else vif.devid, vif.mac, vif.bridge, vif.model, vif.ip)
        for place, vif in enumerate(vifs)
    ]
    table(["Idx", "MAC", "Bridge", "Model", "IP"], rows, numbers=["Idx"])


def channel_list(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the channels of a domain, with the host's end of each.

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
    timeout: Timeout = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Insert a disc into a CD-ROM drive, in the place of the one that is there.

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.insert_cdrom(vdev, target, timeout=timeout)
        report(found, as_json=as_json)


def cd_eject(
    domain: DomainName, vdev: Vdev, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Eject the disc of a CD-ROM drive.

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.eject_cdrom(vdev, timeout=timeout)
        report(found, as_json=as_json)


def _attach(kind: type[Device], key: str, spec: list[str], uri: str, timeout: float | None, *, as_json: bool) -> None:
    with host_at(uri) as host:
        found = domain_of(host, key)
        made = found.attach(_device(kind, ",".join(spec)), timeout=timeout)
        if as_json:
            names = {"domid": found.domid, "name": found.name, "uuid": str(found.uuid)}
            document(names | {"device": str(made)})
        else:
            say(made)


def _device(kind: type[D], text: str) -> D:
    """Return a device from xl's text, and say which words xl would pass over."""
    try:
        return kind.from_xl(text, on_loss="raise")
    except LossyConversion as error:
        for loss in error.losses:
            complain(str(loss), style="bold yellow", label="warning")
        return kind.from_xl(text, on_loss="ignore")


def _detach(
    device: Device | str, key: str, uri: str, timeout: float | None, *, force: bool, yes: bool, as_json: bool
) -> None:
    with host_at(uri) as host:
        found = domain_of(host, key)
        if force:
            confirm(f"Pull {device} out of {named(found)}? What its guest has not written is lost.", yes=yes)
        found.detach(device, force=force, timeout=timeout)
        report(found, as_json=as_json)


def _libxl_json(domain: Domain, kind: type[Device]) -> Any:
    """Return the devices of a kind as libxl writes them in its JSON."""
    from pyxen import libxljson

    member = next(each.member for each in KINDS if each.part is kind)
    return json.loads(libxljson.dumps(domain.config())).get(member, [])


def _numbered(kind: type[Device], text: str) -> Device:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{text!r} is not the number of a device: its list has the numbers")
    return kind(devid=int(text))  # type: ignore[call-arg]  # the kinds that have commands here have a devid


# The kinds below are attached, detached and listed in the same way.


def _attach_command(kind: type[Device], noun: str) -> Any:
    def attach(
        domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
    ) -> None:
        _attach(kind, domain, spec, uri, timeout, as_json=as_json)

    attach.__doc__ = f"""Attach a {noun} to a running domain.

    JSON: an object with domid, name, uuid, and device, in xl's text.
    """
    return attach


def _detach_command(kind: type[Device], noun: str) -> Any:
    def detach(
        domain: DomainName,
        devid: Devid,
        uri: Uri = "",
        timeout: Timeout = None,
        *,
        force: Force = False,
        yes: Yes = False,
        as_json: AsJson = False,
    ) -> None:
        with host_at(uri):
            device = _numbered(kind, devid)
        _detach(device, domain, uri, timeout, force=force, yes=yes, as_json=as_json)

    detach.__doc__ = f"""Detach a {noun}. On a terminal it asks before --force.

    JSON: an object with domid, name and uuid.
    """
    return detach


def _list_command(kind: type[Device], noun: str) -> Any:
    def list_devices(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
        field = next(each.field for each in KINDS if each.part is kind)
        with host_at(uri) as host:
            found = domain_of(host, domain)
            if as_json:
                document(_libxl_json(found, kind))
                return
            devices = getattr(found.config(), field)
        rows = [(place if each.devid is None else each.devid, each) for place, each in enumerate(devices)]
        table(["Idx", "Device"], rows, numbers=["Idx"])

    list_devices.__doc__ = f"""List the {noun}s of a domain.

    JSON: a list of them in libxl's JSON.
    """
    return list_devices


_ALIKE: Final[dict[str, tuple[type[Device], str]]] = {
    "vtpm": (Vtpm, "vTPM"),
    "vkb": (Vkb, "keyboard"),
    "vdispl": (Vdispl, "display"),
    "vsnd": (Vsnd, "sound card"),
    "9pfs": (P9, "shared folder"),
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
    **{
        f"{name}-{verb}": make(kind, noun)
        for name, (kind, noun) in _ALIKE.items()
        for verb, make in (("attach", _attach_command), ("detach", _detach_command), ("list", _list_command))
    },
}
"""The commands of this module by name."""
