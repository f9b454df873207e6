"""Commands for PCI passthrough: the devices of domains, and those of the host that can be given to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.attaching import Force, Words, attach, detach
from pyxen.cli.completion import assignable_pci, devices, host_pci
from pyxen.cli.options import AsJson, DetachTimeout, DomainName, Timeout, Uri, Yes
from pyxen.cli.output import document, table
from pyxen.cli.session import domain_of, host_at
from pyxen.config import Pci, PciAddress
from pyxen.errors import ConfigError
from pyxen.host import Host
from pyxen.records.host_devices import PciDevice

__all__ = ["COMMANDS"]


def pci_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Give a domain a PCI device of the host. It must be assignable: see pci-assignable-add.

    Example: pyxen pci-attach web1 0000:03:00.0 permissive=1

    JSON: an object with domid, name, uuid, and device, in xl's text.
    """
    attach(Pci, domain, spec, uri, timeout, as_json=as_json)


def pci_detach(
    domain: DomainName,
    device: Annotated[
        str,
        typer.Argument(metavar="BDF", autocompletion=devices("pcis"), help="Its address on the host, as 03:00.0."),
    ],
    uri: Uri = "",
    timeout: DetachTimeout = None,
    *,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a PCI device from a domain. It stays assignable. It asks before --force.

    Example: pyxen pci-detach web1 0000:03:00.0

    JSON: an object with domid, name and uuid.
    """

    def wanted() -> Pci:
        try:
            return Pci(PciAddress(device))
        except ValueError as error:
            raise ConfigError(str(error)) from None

    detach(wanted, domain, uri, timeout, force=force, yes=yes, as_json=as_json)


def pci_list(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """List the PCI devices of a domain. Vdev is the slot and the function in the domain, in hexadecimal.

    Example: pyxen pci-list web1

    JSON: a list of LiveDevice.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        devices = list(found.pcis.list())
        slots = {} if as_json else _slots(host, found.domid)
    if as_json:
        document([each.to_dict() for each in devices])
        return
    rows = [
        (each.slot if each.slot is not None else slots.get(each.config.address), each.config.address, each.config.name)
        for each in devices
    ]
    table(["Vdev", "Device", "Name"], rows)


def _slots(host: Host, domid: int) -> dict[PciAddress | None, str]:
    """Return where in a domain its PCI devices are, as far as the toolstack recorded it."""
    if not host.supports("pci"):
        return {}
    return {
        device.address: f"{device.vslot:02x}.{device.vfunction or 0:x}"
        for device in host.pci.list()
        if device.domid == domid and device.vslot is not None
    }


def pci_assignable_add(
    device: Annotated[
        str, typer.Argument(metavar="BDF", autocompletion=host_pci, help="Its address on the host, as 03:00.0.")
    ],
    uri: Uri = "",
    name: Annotated[
        str | None, typer.Option("--name", "-n", metavar="NAME", help="A name, with which it can be attached, too.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take a PCI device from its driver in dom0, so that a domain can have it.

    What uses the device in dom0 loses it: do not take the controller of dom0's own disk.

    Example: pyxen pci-assignable-add 0000:03:00.0

    JSON: a PciDevice.
    """
    with host_at(uri) as host:
        host.pci.assignable_add(device, name=name)
        if as_json:
            document(host.pci[device].to_dict())


def pci_assignable_remove(
    device: Annotated[
        str, typer.Argument(metavar="BDF|NAME", autocompletion=assignable_pci, help="Its address, or its name.")
    ],
    uri: Uri = "",
    *,
    rebind: Annotated[bool, typer.Option("--rebind", "-r", help="Give it back to the driver that it had.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a PCI device not assignable any more. It loses its name.

    Example: pyxen pci-assignable-remove 0000:03:00.0

    JSON: a PciDevice.
    """
    with host_at(uri) as host:
        address = host.pci[device].address
        host.pci.assignable_remove(device, rebind=rebind)
        if as_json:
            document(host.pci[address].to_dict())


def pci_assignable_list(
    uri: Uri = "",
    *,
    show_names: Annotated[bool, typer.Option("--show-names", "-n", help="Show the names, too.")] = False,
    all_devices: Annotated[
        bool, typer.Option("--all", "-a", help="Show all PCI devices of the host, with their drivers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the PCI devices that can be given to a domain.

    Example: pyxen pci-assignable-list

    JSON: a list of PciDevice.
    """
    with host_at(uri) as host:
        found = host.pci.list() if all_devices else host.pci.assignable_list()
    if as_json:
        document([each.to_dict() for each in found])
    elif all_devices:
        rows = [(each.address, _ids(each), each.driver, each.assignable, each.name, each.domid) for each in found]
        table(["Device", "Id", "Driver", "Assignable", "Name", "Domain"], rows, numbers=["Domain"])
    elif show_names:
        table(["Device", "Name"], [(each.address, each.name) for each in found])
    else:
        table(["Device"], [(each.address,) for each in found])


def _ids(device: PciDevice) -> str | None:
    """Return vendor and device as lspci -n shows them."""
    if device.vendor_id is None or device.device_id is None:
        return None
    return f"{device.vendor_id:04x}:{device.device_id:04x}"


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "pci-attach": pci_attach,
    "pci-detach": pci_detach,
    "pci-list": pci_list,
    "pci-assignable-add": pci_assignable_add,
    "pci-assignable-remove": pci_assignable_remove,
    "pci-assignable-list": pci_assignable_list,
}
"""The commands of this module by name."""
