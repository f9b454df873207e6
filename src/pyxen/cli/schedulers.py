"""Commands for shares of the CPUs: ``pyxen sched-credit`` and so on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import typer

from pyxen.cli.completion import domains, pools
from pyxen.cli.options import AsJson, Uri
from pyxen.cli.output import document, say, table
from pyxen.cli.session import domain_of, host_at, pool_of, report, vcpu_of
from pyxen.config import Scheduler, SchedulerKind
from pyxen.errors import DomainNotFound, InvalidArgument
from pyxen.host import Host
from pyxen.records.scheduling import CpupoolInfo, PoolScheduler

__all__ = ["COMMANDS"]

DomainOption = Annotated[
    str | None,
    typer.Option("--domain", "-d", metavar="DOMAIN", autocompletion=domains, help="One domain. Default: all."),
]
PoolOption = Annotated[
    str | None,
    typer.Option("--cpupool", "-p", metavar="POOL", autocompletion=pools, help="One CPU pool. Default: all."),
]
Weight = Annotated[int | None, typer.Option("--weight", "-w", help="Set its weight, 1 to 65535.")]
Cap = Annotated[int | None, typer.Option("--cap", "-c", help="Set its cap, in percent of one CPU; 0 is no cap.")]
OfPool = Annotated[bool, typer.Option("--schedparam", "-s", help="The parameters of CPU pools.")]
Ratelimit = Annotated[int | None, typer.Option("--ratelimit_us", "-r", help="Set the rate limit, in microseconds.")]


def sched_credit(
    domain: DomainOption = None,
    weight: Weight = None,
    cap: Cap = None,
    pool: PoolOption = None,
    tslice: Annotated[int | None, typer.Option("--tslice_ms", "-t", help="Set the time slice, in ms.")] = None,
    ratelimit: Ratelimit = None,
    delay: Annotated[
        int | None, typer.Option("--migration_delay_us", "-m", help="Set the delay of moves, in microseconds.")
    ] = None,
    uri: Uri = "",
    *,
    of_pool: OfPool = False,
    as_json: AsJson = False,
) -> None:
    """Show or set shares of the scheduler credit.

    Example: pyxen sched-credit -d web1 -w 512

    JSON: a list of objects with pool, its number; parameters, a PoolScheduler; and domains, a list of objects with
    domid, name and the parameters of the domain. With --domain, a list of one such object. When the share of a domain
    is set, an object with domid, name and uuid; when parameters of a pool are set, an object with pool and parameters.
    """
    share = Scheduler(weight=weight, cap=cap)
    wanted = PoolScheduler(tslice_ms=tslice, ratelimit_us=ratelimit, vcpu_migr_delay_us=delay)
    _schedule(SchedulerKind.CREDIT, uri, domain, share, pool, wanted, of_pool=of_pool, as_json=as_json)


def sched_credit2(
    domain: DomainOption = None,
    weight: Weight = None,
    cap: Cap = None,
    pool: PoolOption = None,
    ratelimit: Ratelimit = None,
    uri: Uri = "",
    *,
    of_pool: OfPool = False,
    as_json: AsJson = False,
) -> None:
    """Show or set shares of the scheduler credit2.

    Example: pyxen sched-credit2 -d web1 -w 512

    JSON: as sched-credit.
    """
    share, wanted = Scheduler(weight=weight, cap=cap), PoolScheduler(ratelimit_us=ratelimit)
    _schedule(SchedulerKind.CREDIT2, uri, domain, share, pool, wanted, of_pool=of_pool, as_json=as_json)


def sched_rtds(
    domain: DomainOption = None,
    vcpu: Annotated[
        str | None, typer.Option("--vcpuid", "-v", metavar="VCPU", help="One vCPU, or all of them.")
    ] = None,
    period: Annotated[int | None, typer.Option("--period", "-p", help="Set the period, in microseconds.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", "-b", help="Set the budget, in microseconds.")] = None,
    extratime: Annotated[
        int | None, typer.Option("--extratime", "-e", min=0, max=1, help="Set whether it may use more, 0 or 1.")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--cpupool", "-c", metavar="POOL", autocompletion=pools, help="One CPU pool. Default: all."),
    ] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show or set shares of the scheduler rtds.

    Example: pyxen sched-rtds -d web1 -p 10000 -b 4000

    JSON: as sched-credit.
    """
    number = None if vcpu is None else vcpu_of(vcpu)
    share = Scheduler(period=period, budget=budget, extratime=extratime)
    _schedule(SchedulerKind.RTDS, uri, domain, share, pool, PoolScheduler(), vcpu=number, as_json=as_json)


def _schedule(
    kind: SchedulerKind,
    uri: str,
    domain: str | None,
    share: Scheduler,
    pool: str | None,
    wanted: PoolScheduler,
    *,
    vcpu: int | Literal["all"] | None = None,
    of_pool: bool = False,
    as_json: bool,
) -> None:
    """Show or set the parameters of a domain, of a pool, or show those of all pools with this scheduler."""
    sets_share, sets_pool = share != Scheduler(), wanted != PoolScheduler()
    if sets_pool and not of_pool:
        raise typer.BadParameter("the parameters of a CPU pool need --schedparam (-s)")
    if of_pool and (sets_share or domain is not None):
        raise typer.BadParameter("--schedparam (-s) is about a CPU pool: leave out the domain and its parameters")
    if (sets_share or vcpu is not None) and domain is None:
        raise typer.BadParameter("name the domain with --domain (-d)")
    with host_at(uri) as host:
        if sets_pool:
            _set_pool(host, kind, pool, wanted, as_json=as_json)
            return
        if domain is None:
            infos = [pool_of(host, pool).info()] if pool is not None else host.cpupools.list()
            _show(host, [info for info in infos if info.scheduler is kind], as_json=as_json, of_pool=of_pool)
            return
        found = domain_of(host, domain)
        current = found.scheduler()
        if current.kind is not kind:
            raise InvalidArgument(
                f"the CPU pool of {domain} has the scheduler {current.kind}: use sched-{current.kind}"
            )
        if sets_share:
            found.set_scheduler(share, vcpu=vcpu)
            report(found, as_json=as_json)
            return
        if isinstance(vcpu, int):
            current = found.scheduler(vcpu=vcpu)
        row = {"domid": found.domid, "name": found.name, **_parameters(current)}
    _print_rows([row], as_json=as_json)


def _set_pool(host: Host, kind: SchedulerKind, pool: str | None, wanted: PoolScheduler, *, as_json: bool) -> None:
    found = pool_of(host, pool if pool is not None else "0")
    found.set_scheduler(dataclasses.replace(wanted, kind=kind))
    if as_json:
        document({"pool": found.number, "parameters": found.scheduler().to_dict()})


def _show(host: Host, infos: list[CpupoolInfo], *, as_json: bool, of_pool: bool) -> None:
    told: list[dict[str, Any]] = []
    for info in infos:
        shares = []
        for domid in () if of_pool else info.domains:
            try:
                domain = host.domains[domid]
                shares.append({"domid": domid, "name": domain.name, **_parameters(domain.scheduler())})
            except DomainNotFound:
                continue  # it has ended since the pools were listed
        pool = host.cpupools[info.number]
        told.append({"pool": info.number, "parameters": pool.scheduler().to_dict(), "domains": shares})
        if not as_json:
            figures = {name: value for name, value in told[-1]["parameters"].items() if value is not None}
            figures.pop("kind")
            say(f"Cpupool {info.name}:", " ".join(f"{name}={value}" for name, value in figures.items()))
            if shares:
                _print_rows(shares, as_json=False)
    if as_json:
        document(told)


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        document(rows)
        return
    names = {"name": "Name", "domid": "ID"} | {name: name.capitalize() for name in rows[0] if name not in _NAMES}
    table([*names.values()], [[row[name] for name in names] for row in rows], numbers=[*names.values()][1:])


_NAMES: Final = ("name", "domid")


def _parameters(scheduler: Scheduler) -> dict[str, Any]:
    """Return the parameters that a scheduler has, without its name."""
    found = {field.name: getattr(scheduler, field.name) for field in dataclasses.fields(scheduler)}
    return {name: value for name, value in found.items() if value is not None and name != "kind"}


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "sched-credit": sched_credit,
    "sched-credit2": sched_credit2,
    "sched-rtds": sched_rtds,
}
"""The commands of this module by name."""
