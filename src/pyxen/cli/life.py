"""Commands for the life of domains: shut down, pause, suspend, rename, press buttons."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from pyxen._common.ready_names import is_to_be_asked
from pyxen.cli.files import complain, write
from pyxen.cli.options import AsJson, DomainName, DomainNames, Timeout, Uri, Yes, timeout_option
from pyxen.cli.output import document, lines
from pyxen.cli.progress import carry_out
from pyxen.cli.session import confirm, domain_of, host_at, interrupted_as, named, report
from pyxen.cli.status import ExitStatus, status_of
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, Error, GuestTimeout, OperationCancelled, OperationTimeout
from pyxen.host import Host
from pyxen.operation import Operation
from pyxen.records.info import Trigger

__all__ = ["COMMANDS"]

_LOSES_DATA: Final = frozenset({"b", "c", "o"})
"""The SysRq keys that end a guest at once: reboot, crash, power off."""

Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait until they have shut down.")]
All = Annotated[bool, typer.Option("--all", "-a", help="All guests that have not ended.")]
Patience = Annotated[float | None, timeout_option("Give up after this time; guests may still do it later.")]
Fallback = Annotated[bool, typer.Option("-F", help="Press the ACPI power button of a guest without a PV driver.")]


def shutdown(
    domains: DomainNames = None,
    uri: Uri = "",
    timeout: Patience = None,
    *,
    every: All = False,
    wait: Wait = False,
    fallback: Fallback = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Ask guests to power off. With --all it asks first.

    Example: pyxen shutdown --wait web1 web2

    JSON: a list of objects with domid, name and uuid: the domains that were asked, or with --wait have shut down.
    """

    def begin(domain: Domain) -> Operation[None]:
        return domain.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout)

    with host_at(uri) as host:
        guests = _guests(host, domains, "Shut down", every=every, yes=yes)
        _each(guests, begin, "shut down", every=every, wait=wait, as_json=as_json)


def reboot(
    domains: DomainNames = None,
    uri: Uri = "",
    timeout: Patience = None,
    *,
    every: All = False,
    wait: Wait = False,
    fallback: Annotated[bool, typer.Option("-F", help="Reset a guest without a PV driver.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Ask guests to reboot. With --all it asks first. pyxen supervise starts them again.

    Example: pyxen reboot web1

    JSON: a list of objects with domid, name and uuid: the domains that were asked, or with --wait have shut down.
    """

    def begin(domain: Domain) -> Operation[None]:
        return domain.begin.reboot(wait=wait, fallback=fallback, timeout=timeout)

    with host_at(uri) as host:
        guests = _guests(host, domains, "Reboot", every=every, yes=yes)
        _each(guests, begin, "reboot", every=every, wait=wait, as_json=as_json)


def _guests(host: Host, keys: list[str] | None, verb: str, *, every: bool, yes: bool) -> list[Domain]:
    if bool(keys) == every:
        raise typer.BadParameter("name domains, or give --all" if not keys else "name domains or give --all, not both")
    if not every:
        return [domain_of(host, key) for key in keys or ()]
    asked = {info.domid for info in host.list() if is_to_be_asked(info)}
    guests = [guest for guest in host.guests if guest.domid in asked]
    if guests:
        confirm(f"{verb} {len(guests)} guests: {', '.join(map(named, guests))}?", yes=yes)
    return guests


def _each(
    domains: list[Domain],
    begin: Callable[[Domain], Operation[None]],
    verb: str,
    *,
    every: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Ask several domains at once for something. What fails is said, and the others go on.

    After Ctrl-C, those are named that were asked and may still do it.

    Args:
        domains: The domains.
        begin: Begins it with one.
        verb: What they are asked for.
        every: They are all guests of the host: it is no failure if one has gone meanwhile.
        wait: An operation waits until the domain has done it, and not only until it is asked.
        as_json: Whether to print a document.
    """
    running: list[tuple[Domain, Operation[Any]]] = []
    beginning: list[Domain] = []
    status, done, told = ExitStatus.DONE, [], 0

    def failed(error: Error) -> ExitStatus:
        if every and isinstance(error, DomainNotFound):
            return status
        complain(str(error))
        return status_of(error)

    try:
        for domain in domains:
            beginning = [domain]
            try:
                running.append((domain, begin(domain)))
            except Error as error:
                beginning = []
                status = failed(error)
        beginning = []
        for domain, operation in running:
            try:
                operation.result()
                done.append(domain)
            except Error as error:
                status = failed(error)
            told += 1
    except KeyboardInterrupt:
        _cancel([operation for _, operation in running])
        for _, operation in running[told:]:
            if (failure := _failure(operation)) is not None:
                failed(failure)
        asked = [domain for domain, operation in running if _may_do_it(operation, waits=wait)]
        left = [named(domain) for domain in (*asked, *(domain for domain in beginning if domain not in asked))]
        if left:
            was = "was" if len(left) == 1 else "were"
            raise KeyboardInterrupt(f"{', '.join(left)} {was} asked, and may still {verb}") from None
        raise
    report(*done, as_json=as_json, many=True)
    if status is not ExitStatus.DONE:
        raise typer.Exit(status)


def _cancel(operations: list[Operation[Any]]) -> None:
    """Cancel operations, and wait for their ends; a second Ctrl-C does not wait."""
    with contextlib.suppress(KeyboardInterrupt):
        for operation in operations:
            operation.cancel()
        for operation in operations:
            operation.exception()


def _failure(operation: Operation[Any]) -> Error | None:
    """Return the failure of an operation; None if it has succeeded, was cancelled, or has not ended."""
    error = operation.exception() if operation.done() else None
    return error if isinstance(error, Error) and not isinstance(error, OperationCancelled) else None


def _may_do_it(operation: Operation[Any], *, waits: bool) -> bool:
    """Tell whether a guest was asked for something that it may still do.

    Args:
        operation: The operation that asks it.
        waits: Whether a success of the operation means that the guest has done it.
    """
    if not operation.done():
        return True
    error = operation.exception()
    return not waits if error is None else isinstance(error, OperationCancelled | OperationTimeout | GuestTimeout)


def destroy(domain: DomainName, uri: Uri = "", *, yes: Yes = False, as_json: AsJson = False) -> None:
    """End a domain at once, like pulling the plug: what its guest has not written is lost. It asks first.

    Example: pyxen destroy --yes web1

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        if found.domid != 0:  # which the library refuses: do not ask first
            confirm(f"Destroy {named(found)}? What its guest has not written is lost.", yes=yes)
        found.destroy()
        report(found, as_json=as_json)


def pause(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Stop the vCPUs of a domain. Xen counts: a domain paused twice must be unpaused twice.

    Example: pyxen pause web1

    JSON: an object with domid, name and uuid.
    """
    _simply(domain, uri, Domain.pause, as_json=as_json)


def unpause(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Let the vCPUs of a domain run again.

    Example: pyxen unpause web1

    JSON: an object with domid, name and uuid.
    """
    _simply(domain, uri, Domain.unpause, as_json=as_json)


def suspend(domain: DomainName, uri: Uri = "", timeout: Timeout = None, *, as_json: AsJson = False) -> None:
    """Suspend a guest in memory. pyxen resume continues it.

    Example: pyxen suspend web1

    JSON: an object with domid, name and uuid.
    """

    def suspended(found: Domain) -> None:
        begin = found.begin
        carry_out(None, lambda: begin.suspend(timeout=timeout))

    _simply(domain, uri, suspended, as_json=as_json)


def resume(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Continue a suspended guest.

    Example: pyxen resume web1

    JSON: an object with domid, name and uuid.
    """
    _simply(domain, uri, Domain.resume, as_json=as_json)


def rename(
    domain: DomainName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Give a domain another name.

    Example: pyxen rename web1 web2

    JSON: an object with domid, name and uuid, with the new name.
    """
    _simply(domain, uri, lambda found: found.rename(name), as_json=as_json)


def trigger(
    domain: DomainName,
    button: Annotated[Trigger, typer.Argument(metavar="TRIGGER", help=f"One of {', '.join(Trigger)}.")],
    vcpu: Annotated[int, typer.Argument(metavar="VCPU", help="The vCPU for nmi and init.")] = 0,
    uri: Uri = "",
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Press a button of a guest, or interrupt a vCPU. It asks before a reset.

    Example: pyxen trigger web1 nmi 0

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        if button is Trigger.RESET:
            confirm(f"Reset {named(found)}? What its guest has not written is lost.", yes=yes)
        found.send_trigger(button, vcpu=vcpu)
        report(found, as_json=as_json)


def button_press(
    domain: DomainName,
    button: Annotated[Trigger, typer.Argument(metavar="BUTTON", help="power or sleep.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Press the power or the sleep button of a guest: xl's older name for trigger.

    Example: pyxen button-press web1 power

    JSON: an object with domid, name and uuid.
    """
    if button not in (Trigger.POWER, Trigger.SLEEP):
        raise typer.BadParameter(f"{button} is not a button: trigger sends it")
    _simply(domain, uri, lambda found: found.send_trigger(button), as_json=as_json)


def sysrq(
    domain: DomainName,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A letter: s syncs the disks, c crashes.")],
    uri: Uri = "",
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send a magic SysRq key to a Linux guest. It asks before b, c and o, which end the guest at once.

    Example: pyxen sysrq web1 s

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        if key in _LOSES_DATA:
            confirm(f"Send {key} to {named(found)}? It ends the guest at once.", yes=yes)
        found.send_sysrq(key)
        report(found, as_json=as_json)


def qemu_monitor_command(
    domain: DomainName,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="As in QEMU's monitor: info block.")],
    uri: Uri = "",
    timeout: Annotated[float | None, timeout_option("Give up after this time; QEMU may still do it.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Run a command in the monitor of a domain's QEMU, and print the answer.

    Example: pyxen qemu-monitor-command pc "info block"

    JSON: an object with answer, which is text.
    """
    with host_at(uri) as host, interrupted_as("QEMU may have done it all the same"):
        answer = domain_of(host, domain).monitor_command(" ".join(command), timeout=timeout)
    if as_json:
        document({"answer": answer})
    else:
        write(lines(answer).rstrip("\n") + "\n" if answer else "")


def _simply(key: str, uri: str, verb: Callable[[Domain], object], *, as_json: bool) -> None:
    with host_at(uri) as host:
        found = domain_of(host, key)
        verb(found)
        report(found, as_json=as_json)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "shutdown": shutdown,
    "reboot": reboot,
    "destroy": destroy,
    "pause": pause,
    "unpause": unpause,
    "suspend": suspend,
    "resume": resume,
    "rename": rename,
    "trigger": trigger,
    "button-press": button_press,
    "sysrq": sysrq,
    "qemu-monitor-command": qemu_monitor_command,
}
"""The commands of this module by name."""
