"""Commands for USB passthrough: controllers and devices of domains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen.cli.attaching import Words, attach, attach_command, detach, detach_command
from pyxen.cli.completion import devices
from pyxen.cli.options import AsJson, DetachTimeout, DomainName, Timeout, Uri
from pyxen.cli.output import document, table
from pyxen.cli.session import domain_of, host_at
from pyxen.config import UsbCtrl, UsbDev
from pyxen.records.host_devices import UsbDevice
from pyxen.records.live_device import LiveDevice

__all__ = ["COMMANDS"]


def usb_list(
    domain: Annotated[
        str | None, typer.Argument(metavar="DOMAIN", help="Name, domid or uuid. Default: show those of the host.")
    ] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List the USB controllers of a domain, each with the devices in its ports; or the USB devices of the host.

    Example: pyxen usb-list web1

    JSON: an object with controllers and devices, two lists of LiveDevice; for the host, a list of UsbDevice.
    """
    with host_at(uri) as host:
        if domain is None:
            _show_host(list(host.usb.list()), as_json=as_json)
            return
        found = domain_of(host, domain)
        controllers, plugged = list(found.usbctrls.list()), list(found.usbdevs.list())
    if as_json:
        document(
            {
                "controllers": [each.to_dict() for each in controllers],
                "devices": [each.to_dict() for each in plugged],
            }
        )
        return
    rows: list[tuple[object, ...]] = []
    for each in controllers:
        ctrl = each.config
        rows.append((each.devid, None, ctrl.type, ctrl.version, ctrl.ports, each.backend_domid, each.frontend_state))
        rows += [_plugged(device) for device in plugged if device.config.controller == each.devid]
    known = {each.devid for each in controllers}
    rows += [_plugged(device) for device in plugged if device.config.controller not in known]
    head = ["Devid", "Port", "Type", "Version", "Ports", "BE", "State"]
    table(head, rows, numbers=["Devid", "Port", "Version", "Ports", "BE"])


def _plugged(device: LiveDevice[UsbDev]) -> tuple[object, ...]:
    config = device.config
    what = f"Bus {config.hostbus:03d} Device {config.hostaddr:03d}" if config.hostbus and config.hostaddr else "device"
    return (config.controller, config.port or None, what, None, None, None, None)


def _show_host(found: list[UsbDevice], *, as_json: bool) -> None:
    if as_json:
        document([each.to_dict() for each in found])
        return
    rows = [
        (f"{each.hostbus:03d}", f"{each.hostaddr:03d}", each.port, _ids(each), each.product, each.domid)
        for each in found
    ]
    table(["Bus", "Device", "Port", "Id", "Product", "Domain"], rows, numbers=["Domain"])


def _ids(device: UsbDevice) -> str | None:
    """Return vendor and product as lsusb shows them."""
    if device.vendor_id is None or device.product_id is None:
        return None
    return f"{device.vendor_id:04x}:{device.product_id:04x}"


def usbdev_attach(
    domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
) -> None:
    """Give a domain a USB device of the host.

    Example: pyxen usbdev-attach web1 hostbus=1 hostaddr=3

    JSON: an object with domid, name, uuid, and device, in xl's text.
    """
    attach(UsbDev, domain, spec, uri, timeout, as_json=as_json)


def usbdev_detach(
    domain: DomainName,
    controller: Annotated[
        int,
        typer.Argument(metavar="DEVID", autocompletion=devices("usbctrls"), min=0, help="Number of its controller."),
    ],
    port: Annotated[int, typer.Argument(metavar="PORT", min=1, max=31, help="Its port there, as usb-list shows it.")],
    uri: Uri = "",
    timeout: DetachTimeout = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Take a USB device from a domain. dom0's driver gets it back.

    Example: pyxen usbdev-detach web1 0 1

    JSON: an object with domid, name and uuid.
    """

    def device() -> UsbDev:
        return UsbDev(controller=controller, port=port)

    detach(device, domain, uri, timeout, force=False, yes=True, as_json=as_json)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "usbctrl-attach": attach_command(UsbCtrl, "USB controller", "usbctrl", "version=2,ports=4"),
    "usbctrl-detach": detach_command(UsbCtrl, "USB controller", "usbctrl"),
    "usb-list": usb_list,
    "usbdev-attach": usbdev_attach,
    "usbdev-detach": usbdev_detach,
}
"""The commands of this module by name."""
