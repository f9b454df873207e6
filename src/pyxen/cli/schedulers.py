"""Commands for shares of the CPUs: ``pyxen sched-credit`` and so on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from pyxen._common.cpupool_preconditions import POOL_PARAMETERS, check_rtds
from pyxen._common.preconditions import SCHEDULER_PARAMETERS
from pyxen.cli.completion import domains, pools
from pyxen.cli.options import AsJson, Uri
from pyxen.cli.output import document, say, table
from pyxen.cli.session import domain_of, host_at, named, pool_of, report, told, vcpu_of
from pyxen.config import Scheduler, SchedulerKind
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, InvalidArgument, NotFound, UnsupportedFeature
from pyxen.host import Host
from pyxen.records.scheduling import CpupoolInfo, PoolScheduler

__all__ = ["COMMANDS"]

DomainOption = Annotated[
    str | None,
    typer.Option("--domain", "-d", metavar="DOMAIN", autocompletion=domains, help="One domain. Default: all."),
]
PoolOption = Annotated[
    str | None,
    typer.Option(
        "--cpupool", "-p", metavar="POOL", autocompletion=pools, help="One CPU pool. Default: all; with -s, Pool-0."
    ),
]
Weight = Annotated[int | None, typer.Option("--weight", "-w", help="Set its weight, 1 to 65535.")]
Cap = Annotated[int | None, typer.Option("--cap", "-c", help="Set its cap, in percent of one CPU; 0 is no cap.")]
OfPool = Annotated[bool, typer.Option("--schedparam", "-s", help="The parameters of a CPU pool.")]
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
    share = _share(weight=weight, cap=cap)
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
    share, wanted = _share(weight=weight, cap=cap), PoolScheduler(ratelimit_us=ratelimit)
    _schedule(SchedulerKind.CREDIT2, uri, domain, share, pool, wanted, of_pool=of_pool, as_json=as_json)


def sched_rtds(
    domain: DomainOption = None,
    vcpu: Annotated[
        list[str] | None,
        typer.Option("--vcpuid", "-v", metavar="VCPU", help="One vCPU, or several, or all of them."),
    ] = None,
    period: Annotated[
        list[int] | None,
        typer.Option("--period", "-p", help="Set the period, in microseconds; with several vCPUs, one for each."),
    ] = None,
    budget: Annotated[
        list[int] | None,
        typer.Option("--budget", "-b", help="Set the budget, in microseconds; with several vCPUs, one for each."),
    ] = None,
    extratime: Annotated[
        list[int] | None,
        typer.Option(
            "--extratime",
            "-e",
            min=0,
            max=1,
            help="Set whether it may use more, 0 or 1; with several vCPUs, one for each.",
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option("--cpupool", "-c", metavar="POOL", autocompletion=pools, help="One CPU pool. Default: all."),
    ] = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Show or set shares of the scheduler rtds: of domains, or with -v of their vCPUs.

    Options that are repeated are for one vCPU each: -v 0 -p 20000 -b 5000 -v 1 -p 30000 -b 15000. They are all checked
    before the first is set.

    Example: pyxen sched-rtds -d web1 -p 10000 -b 4000

    JSON: as sched-credit; with --vcpuid, the objects of domains are those of their vCPUs, and have vcpu, its number.
    """
    vcpus = [vcpu_of(each) for each in vcpu or ()]
    numbers = [each for each in vcpus if isinstance(each, int)]  # none of them: all, or the domain
    if "all" in vcpus and len(vcpus) > 1:
        raise typer.BadParameter("--vcpuid (-v): give numbers, or all, not both")
    values: dict[str, list[Any]] = {"period": period or [], "budget": budget or [], "extratime": extratime or []}
    count = max(1, len(vcpus))
    wrong = next((name for name, given in values.items() if len(given) not in (0, count)), None)
    if wrong is not None:
        whom = "one for each --vcpuid (-v)" if count > 1 else "one, or name as many vCPUs with --vcpuid (-v)"
        raise typer.BadParameter(f"--{wrong} is given {len(values[wrong])} times: give {whom}")
    shares = [_share(**{name: given[place] for name, given in values.items() if given}) for place in range(count)]
    sets = any(values.values())
    if pool is not None and (domain is not None or vcpus or sets):
        raise typer.BadParameter(_POOL_ALONE.format(option="--cpupool (-c)"))
    if domain is None and (sets or numbers):
        raise typer.BadParameter(_NO_DOMAIN)
    with host_at(uri) as host:
        if domain is None:
            _show(host, _pools(host, SchedulerKind.RTDS, pool), by_vcpu=bool(vcpus), as_json=as_json)
            return
        found = _of_kind(host, domain, SchedulerKind.RTDS)
        if sets:
            _check_shares(found, [*zip(numbers, shares, strict=False)])
            for place, share in enumerate(shares):
                found.set_scheduler(share, vcpu=vcpus[place] if vcpus else None)
            report(found, as_json=as_json)
            return
        rows = _rows(found, SchedulerKind.RTDS, numbers if vcpus else None)
    _print_rows(rows, as_json=as_json)


def _share(**given: Any) -> Scheduler:
    """Return a share as it is given. A wrong number is said."""
    with told():
        return Scheduler(**given)


def _check_shares(domain: Domain, given: Sequence[tuple[int, Scheduler]]) -> None:
    """Check what several vCPUs are to get, before any of them gets it.

    Raises:
        InvalidArgument: There is no such vCPU, or a share does not fit with what stays of the present one.
    """
    there = {vcpu.number for vcpu in domain.vcpus()} if given else set()
    shares: dict[int, Scheduler] = {}
    for number, share in given:
        if number not in there:
            raise InvalidArgument(f"the domain has no vCPU {number}", operation="set_scheduler", domain=domain.domid)
        before = shares[number] if number in shares else domain.scheduler(vcpu=number)
        shares[number] = before.replace(**_parameters(share))
        try:
            check_rtds(domain.domid, _parameters(shares[number]))
        except InvalidArgument as error:
            message = f"vCPU {number}: {error.message}"
            raise InvalidArgument(message, operation=error.operation, domain=domain.domid) from None


def _schedule(
    kind: SchedulerKind,
    uri: str,
    domain: str | None,
    share: Scheduler,
    pool: str | None,
    wanted: PoolScheduler,
    *,
    of_pool: bool,
    as_json: bool,
) -> None:
    """Show or set the parameters of a domain, of a pool, or show those of all pools with this scheduler."""
    sets_share, sets_pool = share != Scheduler(), wanted != PoolScheduler()
    if sets_pool and not of_pool:
        raise typer.BadParameter("the parameters of a CPU pool need --schedparam (-s)")
    if (of_pool or pool is not None) and (sets_share or domain is not None):
        option = "--schedparam (-s)" if of_pool else "--cpupool (-p)"
        raise typer.BadParameter(_POOL_ALONE.format(option=option))
    if sets_share and domain is None:
        raise typer.BadParameter(_NO_DOMAIN)
    with host_at(uri) as host:
        if of_pool:
            _parameters_of_pool(host, kind, pool, wanted if sets_pool else None, as_json=as_json)
            return
        if domain is None:
            _show(host, _pools(host, kind, pool), as_json=as_json)
            return
        found = _of_kind(host, domain, kind)
        if sets_share:
            found.set_scheduler(share)
            report(found, as_json=as_json)
            return
        rows = _rows(found, kind)
    _print_rows(rows, as_json=as_json)


_NO_DOMAIN: Final = "name the domain with --domain (-d)"
_POOL_ALONE: Final = "{option} is about a CPU pool: leave out the domain and its parameters"


def _pools(host: Host, kind: SchedulerKind, pool: str | None) -> list[CpupoolInfo]:
    """Return the pools that have a scheduler: all, or the one that is named."""
    infos = [pool_of(host, pool).info()] if pool is not None else host.cpupools.list()
    return [info for info in infos if info.scheduler is kind]


def _other_scheduler(
    pool: str, there: SchedulerKind | None, parameters: Mapping[str, object], whose: str
) -> InvalidArgument:
    """Return the error for a CPU pool with another scheduler.

    Args:
        pool: What the pool is called.
        there: Its scheduler.
        parameters: The schedulers that have such parameters as are asked for, and so commands.
        whose: Whose parameters these are.
    """
    remedy = f": use sched-{there}" if there in parameters else f", which has no parameters of {whose}"
    return InvalidArgument(f"{pool} has the scheduler {there}{remedy}")


def _check_kind(domain: Domain, kind: SchedulerKind) -> None:
    """Check that the pool of a domain has a scheduler.

    Raises:
        InvalidArgument: It has another one.
    """
    there = domain.scheduler().kind
    if there is not kind:
        raise _other_scheduler(f"the CPU pool of {named(domain)}", there, SCHEDULER_PARAMETERS, "domains")


def _of_kind(host: Host, key: str, kind: SchedulerKind) -> Domain:
    """Return a domain whose pool has a scheduler; see `_check_kind`."""
    found = domain_of(host, key)
    _check_kind(found, kind)
    return found


def _rows(domain: Domain, kind: SchedulerKind, vcpus: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return what is shown of a domain.

    Args:
        domain: The domain.
        kind: The scheduler of its pool.
        vcpus: Numbers of vCPUs, each of which is a row; all of them if there are none here. None: the domain is a row.

    Raises:
        InvalidArgument: The pool has another scheduler: the domain has been moved to another pool.
    """
    names = {"domid": domain.domid, "name": domain.name}
    try:
        if vcpus is None:
            shares = [(names, domain.scheduler())]
        else:
            numbers = vcpus or [each.number for each in domain.vcpus()]
            shares = [(names | {"vcpu": number}, domain.scheduler(vcpu=number)) for number in numbers]
    except UnsupportedFeature:
        _check_kind(domain, kind)
        raise
    if any(share.kind is not kind for _, share in shares):
        _check_kind(domain, kind)
    return [row | _parameters(share) for row, share in shares]


def _parameters_of_pool(
    host: Host, kind: SchedulerKind, pool: str | None, wanted: PoolScheduler | None, *, as_json: bool
) -> None:
    """Set the parameters of a pool, or show them."""
    found = pool_of(host, pool if pool is not None else "0")
    info = found.info()
    if info.scheduler is not kind:
        raise _other_scheduler(f"the CPU pool {info.name}", info.scheduler, POOL_PARAMETERS, "CPU pools")
    if wanted is None:
        _show(host, [info], of_pool=True, as_json=as_json)
        return
    found.set_scheduler(dataclasses.replace(wanted, kind=kind))
    if as_json:
        document({"pool": found.number, "parameters": found.scheduler().to_dict()})


def _show(host: Host, infos: list[CpupoolInfo], *, of_pool: bool = False, by_vcpu: bool = False, as_json: bool) -> None:
    """Show pools and their domains, without those that have gone or were moved since the pools were listed."""
    shown: list[dict[str, Any]] = []
    for info in infos:
        shares = []
        for domid in () if of_pool else info.domains:
            with contextlib.suppress(DomainNotFound, InvalidArgument):  # it has gone, or was moved
                shares += _rows(host.domains[domid], info.scheduler, [] if by_vcpu else None)
        try:
            parameters = host.cpupools[info.number].scheduler().to_dict()
        except NotFound:
            continue
        shown.append({"pool": info.number, "parameters": parameters, "domains": shares})
        if not as_json:
            figures = {name: value for name, value in parameters.items() if value is not None}
            figures.pop("kind")
            say(f"Cpupool {info.name}:", " ".join(f"{name}={value}" for name, value in figures.items()))
            if shares:
                _print_rows(shares, as_json=False)
    if as_json:
        document(shown)


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        document(rows)
        return
    names = {"name": "Name", "domid": "ID"} | ({"vcpu": "VCPU"} if "vcpu" in rows[0] else {})
    names |= {name: name.capitalize() for name in rows[0] if name not in _NAMES}
    table([*names.values()], [[row[name] for name in names] for row in rows], numbers=[*names.values()][1:])


_NAMES: Final = ("name", "domid", "vcpu")


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
