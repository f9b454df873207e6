"""Commands for shares of caches and memory bandwidth (PSR)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer

from pyxen.cli.options import AsJson, DomainName, Uri
from pyxen.cli.output import document, say, table
from pyxen.cli.session import domain_of, host_at, report
from pyxen.domain import Domain
from pyxen.errors import ConfigError, DomainNotFound, InvalidState
from pyxen.host import Host
from pyxen.records.psr import PsrEvent, PsrKind

__all__ = ["COMMANDS"]

OptionalDomain = Annotated[
    str | None, typer.Argument(metavar="DOMAIN", help="Name, domid or uuid. Default: all.", show_default=False)
]
Level = Annotated[int, typer.Option("--level", "-l", metavar="LEVEL", min=2, max=3, help="Level of the cache: 2 or 3.")]
Sockets = Annotated[
    str | None, typer.Option("--socket", "-s", metavar="SOCKETS", help="Sockets, as 0,2-3. Default: all.")
]


def psr_hwinfo(
    uri: Uri = "",
    *,
    cmt: Annotated[bool, typer.Option("--cmt", "-m", help="Only what can be measured.")] = False,
    cat: Annotated[bool, typer.Option("--cat", "-a", help="Only shares of caches.")] = False,
    mba: Annotated[bool, typer.Option("--mba", "-b", help="Only shares of memory bandwidth.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the CPUs can measure, and what of them can be shared out to domains.

    Example: pyxen psr-hwinfo --cat

    JSON: an object with monitoring, a PsrMonitoring, and allocations, a list of PsrAllocation.
    """
    every = not (cmt or cat or mba)
    with host_at(uri) as host:
        monitoring, allocations = host.psr.monitoring(), host.psr.allocations()
    wanted = [each for each in allocations if every or (mba if each.kind is PsrKind.MBA else cat)]
    if as_json:
        document({"monitoring": monitoring.to_dict(), "allocations": [each.to_dict() for each in wanted]})
        return
    if every or cmt:
        say("Measuring:", "enabled" if monitoring.enabled else "disabled")
        if monitoring.enabled:
            say("Domains at the same time:", monitoring.total_rmids)
            say("What can be measured:", ", ".join(monitoring.events))
    if every or cat or mba:
        rows = [
            (each.kind, each.socket, each.max_cos, each.cbm_len, each.cdp, each.max_throttle, each.linear)
            for each in wanted
        ]
        head = ["Kind", "Socket", "Max COS", "CBM length", "CDP", "Max throttle", "Linear"]
        table(head, rows, numbers=["Socket", "Max COS", "CBM length", "Max throttle"])


def psr_cmt_attach(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Begin to measure a domain.

    Example: pyxen psr-cmt-attach web1

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        host.psr.attach(found)
        report(found, as_json=as_json)


def psr_cmt_detach(domain: DomainName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Stop measuring a domain.

    Example: pyxen psr-cmt-detach web1

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        host.psr.detach(found)
        report(found, as_json=as_json)


def psr_cmt_show(
    event: Annotated[PsrEvent, typer.Argument(metavar="EVENT", help=f"One of {', '.join(PsrEvent)}.")],
    domain: OptionalDomain = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show what is measured of domains, socket by socket, in bytes. A counter of traffic only grows.

    Example: pyxen psr-cmt-show cache-occupancy web1

    JSON: a list of objects with domid, name, and sockets, a list of PsrSample.
    """
    with host_at(uri) as host:
        sockets = _sockets_of(host)
        found: list[tuple[Domain, list[Any]]] = []
        for each in _chosen(host, domain):
            with _passed_over(domain is None):
                found.append((each, [host.psr.sample(each, event, socket=socket) for socket in sockets]))
    if as_json:
        document(
            [
                {"domid": each.domid, "name": each.name, "sockets": [sample.to_dict() for sample in samples]}
                for each, samples in found
            ]
        )
        return
    titles = [f"Socket {socket}" for socket in sockets]
    rows = [(each.name, each.domid, *(sample.value for sample in samples)) for each, samples in found]
    table(["Name", "ID", *titles], rows, numbers=["ID", *titles])


def psr_cat_set(
    domain: DomainName,
    cbm: Annotated[str, typer.Argument(metavar="CBM", help="A mask of adjacent parts of the cache, as 0xff.")],
    uri: Uri = "",
    level: Level = 3,
    sockets: Sockets = None,
    *,
    code: Annotated[bool, typer.Option("--code", "-c", help="Only code, with CDP.")] = False,
    data: Annotated[bool, typer.Option("--data", "-d", help="Only data, with CDP.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the parts of a cache that a domain may fill.

    Example: pyxen psr-cat-set -s 0 web1 0xff

    JSON: an object with domid, name and uuid.
    """
    if (code or data) and level != 3:
        raise typer.BadParameter("code and data are apart in the cache of level 3 only")
    of_l3 = PsrKind.L3 if code == data else PsrKind.L3_CODE if code else PsrKind.L3_DATA
    _set(domain, PsrKind.L2 if level == 2 else of_l3, cbm, sockets, uri, as_json=as_json)


def psr_mba_set(
    domain: DomainName,
    throttle: Annotated[str, typer.Argument(metavar="THROTTLE", help="How much it is throttled, as 10 or 0xa.")],
    uri: Uri = "",
    sockets: Sockets = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Set how much the memory bandwidth of a domain is throttled.

    Example: pyxen psr-mba-set web1 50

    JSON: an object with domid, name and uuid.
    """
    _set(domain, PsrKind.MBA, throttle, sockets, uri, as_json=as_json)


def _set(key: str, kind: PsrKind, value: str, sockets: str | None, uri: str, *, as_json: bool) -> None:
    with host_at(uri) as host:
        found = domain_of(host, key)
        host.psr.set(found, kind, _number(value), sockets=None if sockets is None else _numbers(sockets))
        report(found, as_json=as_json)


def psr_cat_show(domain: OptionalDomain = None, uri: Uri = "", level: Level = 3, *, as_json: AsJson = False) -> None:
    """Show the parts of a cache that domains may fill, as masks.

    Example: pyxen psr-cat-show web1

    JSON: a list of objects with domid, name and kinds, an object with a list of masks, socket by socket, for each kind.
    """
    with host_at(uri) as host:
        kind = PsrKind.L2 if level == 2 else PsrKind.L3
        allocated = [each for each in host.psr.allocations() if each.kind is kind]
        apart = any(each.cdp for each in allocated)
        kinds = (PsrKind.L3_CODE, PsrKind.L3_DATA) if apart else (kind,)
        _show(host, domain, kinds, as_json=as_json)


def psr_mba_show(domain: OptionalDomain = None, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show how much the memory bandwidth of domains is throttled.

    Example: pyxen psr-mba-show web1

    JSON: a list of objects with domid, name and kinds, an object with a list of values, socket by socket, for mba.
    """
    with host_at(uri) as host:
        _show(host, domain, (PsrKind.MBA,), as_json=as_json)


def _show(host: Host, key: str | None, kinds: tuple[PsrKind, ...], *, as_json: bool) -> None:
    sockets = _sockets_of(host)
    found: list[dict[str, Any]] = []
    for each in _chosen(host, key):
        with _passed_over(key is None):
            values = {str(kind): [host.psr.get(each, kind, socket=socket) for socket in sockets] for kind in kinds}
            found.append({"domid": each.domid, "name": each.name, "kinds": values})
    if as_json:
        document(found)
        return
    titles = [f"Socket {socket}" for socket in sockets]
    rows = [
        (each["name"], each["domid"], kind, *(f"{value:#x}" for value in values))
        for each in found
        for kind, values in each["kinds"].items()
    ]
    table(["Name", "ID", "Kind", *titles], rows, numbers=["ID", *titles])


def _chosen(host: Host, key: str | None) -> list[Domain]:
    return list(host.domains) if key is None else [domain_of(host, key)]


@contextlib.contextmanager
def _passed_over(every: bool) -> Iterator[None]:
    """Pass over a domain that is not measured, or has gone since all were listed, if it was not asked for by name."""
    try:
        yield
    except (DomainNotFound, InvalidState):
        if not every:
            raise


def _sockets_of(host: Host) -> list[int]:
    return sorted({cpu.socket for cpu in host.topology().cpus if cpu.socket is not None})


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ConfigError(f"{text!r} is not a number: write 10 or 0xa") from None


def _numbers(text: str) -> list[int]:
    from pyxen.cli.session import cpus_of

    return list(cpus_of(text))


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "psr-hwinfo": psr_hwinfo,
    "psr-cmt-attach": psr_cmt_attach,
    "psr-cmt-detach": psr_cmt_detach,
    "psr-cmt-show": psr_cmt_show,
    "psr-cat-set": psr_cat_set,
    "psr-cat-show": psr_cat_show,
    "psr-mba-set": psr_mba_set,
    "psr-mba-show": psr_mba_show,
}
"""The commands of this module by name."""
