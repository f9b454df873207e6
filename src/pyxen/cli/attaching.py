"""How commands attach, detach and list devices, whatever their kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import typer

from pyxen._printable import quoted
from pyxen.cli.completion import devices
from pyxen.cli.options import AsJson, DetachTimeout, DomainName, Timeout, Uri, Yes
from pyxen.cli.output import document, say, table
from pyxen.cli.progress import carry_out
from pyxen.cli.session import confirm, decimal, domain_of, host_at, interrupted_as, named, report
from pyxen.config import Device, Vtpm
from pyxen.config.device_table import KINDS
from pyxen.errors import ConfigError
from pyxen.records.live_device import LiveDevice
from pyxen.xlcfg.device_text import read_arguments

__all__ = [
    "Force",
    "Verbose",
    "Words",
    "attach",
    "attach_command",
    "detach",
    "detach_command",
    "list_command",
    "live",
    "number_of",
    "show_devices",
    "uuid_of",
]

D = TypeVar("D", bound=Device)

Row = Callable[[LiveDevice[Any]], Sequence[object]]
"""Returns the cells of a device in a table."""

Words = Annotated[
    list[str], typer.Argument(metavar="SPEC", help="The device in xl.cfg's words, with commas or as arguments.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="At once: what the guest has not written is lost.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show event channels, rings and the path of the backend, too.")
]

_UUID: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_NUMBERS: Final = ("Idx", "BE", "Evt-ch", "Ring-ref")
"""The titles of columns that have numbers."""


def attach(kind: type[Device], key: str, spec: list[str], uri: str, timeout: float | None, *, as_json: bool) -> None:
    """Attach a device that is written in xl.cfg's words to a domain, and print it as it was created."""
    with host_at(uri) as host:
        found = domain_of(host, key)
        device, begin = read_arguments(kind, spec), found.begin
        made = carry_out(
            None,
            lambda: begin.attach(device, timeout=timeout),
            undo=lambda half: begin.detach(half, force=True).wait(),
        )
        if as_json:
            names = {"domid": found.domid, "name": found.name, "uuid": str(found.uuid)}
            document(names | {"device": str(made)})
        else:
            say(made)


def detach(
    device: Callable[[], Device | str],
    key: str,
    uri: str,
    timeout: float | None,
    *,
    force: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Detach a device from a domain; ask before that is forced.

    Args:
        device: Returns what names the device. Its errors are those of the command.
        key: The domain.
        uri: The host.
        timeout: Seconds for it.
        force: Whether the guest is not asked.
        yes: Whether the person is not asked.
        as_json: Whether to print a document.
    """
    with host_at(uri) as host:
        found, wanted = domain_of(host, key), device()
        if force:
            confirm(f"Pull {wanted} out of {named(found)}? What its guest has not written is lost.", yes=yes)
        asked = (
            "it is not known whether it has gone" if force else "the guest was asked to release it, and may still do so"
        )
        with interrupted_as(asked):
            found.detach(wanted, force=force, timeout=timeout)
        report(found, as_json=as_json)


def live(kind: type[D], key: str, uri: str) -> list[LiveDevice[D]]:
    """Return the devices of a kind that a domain has now."""
    field = next(each.field for each in KINDS if each.part is kind)
    with host_at(uri) as host:
        return list(getattr(domain_of(host, key), field).list())


def show_devices(
    found: Sequence[LiveDevice[Any]],
    head: Sequence[str],
    row: Row,
    *,
    verbose: bool = False,
    as_json: bool,
) -> None:
    """Print devices: a table with these columns, or a document."""
    if as_json:
        document([each.to_dict() for each in found])
        return
    more = ["Evt-ch", "Ring-ref", "BE-path"] if verbose else []
    rows = [(*row(each), *(_wiring(each) if verbose else ())) for each in found]
    table([*head, *more], rows, numbers=_NUMBERS)


def _wiring(device: LiveDevice[Any]) -> Sequence[object]:
    return (_listed(device.event_channels), _listed(device.ring_refs), device.backend_path)


def _listed(numbers: tuple[int, ...]) -> str | None:
    return "/".join(str(number) for number in numbers) or None


def number_of(text: str) -> int:
    """Return the number of a device that a person writes.

    Raises:
        ConfigError: It is not a number.
    """
    number = decimal(text)
    if number is None:
        raise ConfigError(f"{quoted(text)} is not the number of a device: its list has the numbers")
    return number


def uuid_of(text: str) -> UUID | None:
    """Return the uuid that a person writes; None if it is not one in the usual form."""
    return UUID(text) if _UUID.fullmatch(text) else None


# Kinds of devices that are attached, detached and listed in the same way have commands that are made here.


def attach_command(kind: type[Device], noun: str, name: str, example: str) -> Any:
    """Return the command that attaches a device of a kind.

    Args:
        kind: The kind.
        noun: What a person calls it.
        name: What commands call it.
        example: A device in xl's words.
    """

    def attach_device(
        domain: DomainName, spec: Words, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False
    ) -> None:
        attach(kind, domain, spec, uri, timeout, as_json=as_json)

    attach_device.__doc__ = f"""Attach a {noun} to a running domain.

    Example: pyxen {name}-attach web1 {example}

    JSON: an object with domid, name, uuid, and device, in xl's text.
    """
    return attach_device


def detach_command(kind: type[Device], noun: str, name: str) -> Any:
    """Return the command that detaches a device of a kind by its number; a vTPM also by its uuid."""
    by_uuid = issubclass(kind, Vtpm)
    field = next(each.field for each in KINDS if each.part is kind)

    def detach_device(
        domain: DomainName,
        devid: str,
        uri: Uri = "",
        timeout: DetachTimeout = None,
        *,
        force: Force = False,
        yes: Yes = False,
        as_json: AsJson = False,
    ) -> None:
        def device() -> Device:
            if by_uuid and (uuid := uuid_of(devid)) is not None:
                return Vtpm(uuid=uuid)
            return kind(devid=number_of(devid))  # type: ignore[call-arg]  # the kinds with such commands have a devid

        detach(device, domain, uri, timeout, force=force, yes=yes, as_json=as_json)

    metavar, what = ("DEVID|UUID", "number, or its uuid") if by_uuid else ("DEVID", "number")
    argument = typer.Argument(metavar=metavar, autocompletion=devices(field), help=f"Its {what}, as its list shows it.")
    detach_device.__annotations__["devid"] = Annotated[str, argument]  # typer could not evaluate it as text
    detach_device.__doc__ = f"""Detach a {noun}. It asks before --force.

    Example: pyxen {name}-detach web1 0

    JSON: an object with domid, name and uuid.
    """
    return detach_device


def list_command(kind: type[Device], noun: str, name: str) -> Any:
    """Return the command that lists the devices of a kind."""

    def list_devices(domain: DomainName, uri: Uri = "", *, verbose: Verbose = False, as_json: AsJson = False) -> None:
        found = live(kind, domain, uri)
        head = ["Idx", "BE", "State", "Device"]
        show_devices(
            found,
            head,
            lambda each: (each.devid, each.backend_domid, each.frontend_state, each.config),
            verbose=verbose,
            as_json=as_json,
        )

    list_devices.__doc__ = f"""List the {noun}s of a domain, with the state of the guest's driver.

    Example: pyxen {name}-list web1

    JSON: a list of LiveDevice.
    """
    return list_devices
