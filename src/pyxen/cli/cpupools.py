"""Commands for CPU pools."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from pyxen._common.cpupool_preconditions import check_new_name, check_scheduler_kind, cpus_to_add
from pyxen.cli.completion import pools
from pyxen.cli.files import STANDARD_INPUT, complain, read, said_of
from pyxen.cli.options import AsJson, DomainName, PoolName, Uri
from pyxen.cli.output import document, say, table
from pyxen.cli.session import cpus_of, domain_of, host_at, pool_of, report
from pyxen.cli.status import ExitStatus
from pyxen.config import CpuSet, SchedulerKind
from pyxen.cpupool import Cpupool
from pyxen.errors import ConfigError
from pyxen.host import Host

__all__ = ["COMMANDS"]

_KEYS: Final = ("name", "sched", "cpus", "nodes")
_VERB: Final = "create_cpupool"

Cpus = Annotated[str, typer.Argument(metavar="CPUS", help="CPUs, as 2-3, or those of a node, as node:1.")]


def cpupool_list(
    pool: Annotated[
        str | None, typer.Argument(metavar="POOL", autocompletion=pools, help="Name or number. Default: all.")
    ] = None,
    uri: Uri = "",
    *,
    cpus: Annotated[bool, typer.Option("--cpus", "-c", help="Show which CPUs they have.")] = False,
    as_json: AsJson = False,
) -> None:
    """List CPU pools.

    Example: pyxen cpupool-list --cpus

    JSON: a list of CpupoolInfo.
    """
    with host_at(uri) as host:
        infos = [pool_of(host, pool).info()] if pool is not None else list(host.cpupools.list())
    if as_json:
        document([info.to_dict() for info in infos])
        return
    if cpus:
        table(["Name", "CPU list"], [(info.name, info.cpus) for info in infos])
        return
    rows = [(info.name, info.number, len(list(info.cpus)), info.scheduler, len(info.domains)) for info in infos]
    table(["Name", "ID", "CPUs", "Sched", "Domain count"], rows, numbers=["ID", "CPUs", "Domain count"])


def cpupool_create(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE", help='name="batch", cpus="2-3", nodes="1", sched="credit"; among them, a file.'
        ),
    ],
    uri: Uri = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dryrun", "--dry-run", "-n", help="Create nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a CPU pool, of CPUs that are in no pool. Without a name in the settings, it has that of the file.

    With --dryrun the same is checked, and name, scheduler and number of CPUs are printed.

    Example: pyxen cpupool-create 'name="batch"' 'cpus="2-3"'

    JSON: a CpupoolInfo; with --dryrun, an object with name, cpus and scheduler.
    """
    with host_at(uri) as host:
        name, cpus, scheduler = _wanted(settings)
        if dry_run:
            count = _checked(host, name, cpus, scheduler)
            if as_json:
                document({"name": name, "cpus": str(cpus), "scheduler": scheduler})
                return
            rows = {"cpupool name": name, "scheduler": scheduler or host.info().xen_scheduler, "number of cpus": count}
            for what, value in rows.items():
                say(f"{what + ':':<15}", value)
            return
        made = host.cpupools.create(name, cpus=cpus, scheduler=scheduler)
        if as_json:
            document(made.info().to_dict())


def _checked(host: Host, name: str, cpus: CpuSet, scheduler: SchedulerKind | None) -> int:
    """Check that a pool could be created, as `Cpupools.create` does, and return how many CPUs it would have.

    Raises:
        CpupoolExists: There is such a pool.
        InvalidArgument: The name is not valid, or the host has no such CPU.
        InvalidState: A CPU is not free.
        UnsupportedFeature: There is no such scheduler any more.
    """
    pools = host.cpupools.list()
    check_scheduler_kind(scheduler, host.uri)
    check_new_name(name, pools, _VERB)
    return len(cpus_to_add(None, cpus, pools, host.topology().node_cpus, _VERB)) if cpus else 0


def _wanted(settings: list[str]) -> tuple[str, CpuSet, SchedulerKind | None]:
    """Return the name, the CPUs and the scheduler that a file and settings ask for.

    Raises:
        ConfigError: They ask for something else.
    """
    from pyxen import xlcfg

    file = next((word for word in settings if "=" not in word), None)
    words = [*settings]
    if file is not None:
        words.remove(file)
        try:
            words.insert(0, read(file).decode("utf-8", "surrogateescape"))
        except OSError as error:
            complain(said_of(file, error))
            raise typer.Exit(ExitStatus.USAGE) from None
    found = xlcfg.parse("".join(f"{word}\n" for word in words))
    unknown = [key for key in found if key not in _KEYS]
    if unknown:
        raise ConfigError(f"{unknown[0]} is not a setting of a CPU pool: those are {', '.join(_KEYS)}")
    name = found.get("name", None if file in (None, STANDARD_INPUT) else os.path.basename(file))
    if not isinstance(name, str):
        raise ConfigError("""a CPU pool needs a name: 'name="batch"'""")
    scheduler = found.get("sched")
    try:
        kind = None if scheduler is None else SchedulerKind(str(scheduler))
    except ValueError:
        raise ConfigError(f"sched={scheduler} is not one of {', '.join(SchedulerKind)}") from None
    if "cpus" in found and "nodes" in found:
        raise ConfigError("give cpus or nodes, not both")
    cpus = ",".join(_words(found.get("cpus", [])))
    nodes = ",".join(f"nodes:{node}" for node in _words(found.get("nodes", [])))
    return name, cpus_of(cpus or nodes) if cpus or nodes else CpuSet(()), kind


def _words(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else str(value).split(",")


def cpupool_destroy(pool: PoolName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Destroy a CPU pool. Its CPUs are free afterwards.

    Example: pyxen cpupool-destroy fast

    JSON: a CpupoolInfo, as it was before.
    """
    with host_at(uri) as host:
        found = pool_of(host, pool)
        info = found.info()
        found.destroy()
    if as_json:
        document(info.to_dict())


def cpupool_rename(
    pool: PoolName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Give a CPU pool another name.

    Example: pyxen cpupool-rename fast slow

    JSON: a CpupoolInfo.
    """
    _change(pool, uri, lambda found: found.rename(name), as_json=as_json)


def cpupool_cpu_add(pool: PoolName, cpus: Cpus, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Add CPUs that are in no pool to a CPU pool.

    Example: pyxen cpupool-cpu-add fast 2-3

    JSON: a CpupoolInfo.
    """
    _change(pool, uri, lambda found: found.add_cpus(cpus_of(cpus)), as_json=as_json)


def cpupool_cpu_remove(pool: PoolName, cpus: Cpus, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Remove CPUs from a CPU pool. They are free afterwards.

    Example: pyxen cpupool-cpu-remove Pool-0 2-3

    JSON: a CpupoolInfo.
    """
    _change(pool, uri, lambda found: found.remove_cpus(cpus_of(cpus)), as_json=as_json)


def _change(key: str, uri: str, change: Callable[[Cpupool], object], *, as_json: bool) -> None:
    with host_at(uri) as host:
        found = pool_of(host, key)
        change(found)
        if as_json:
            document(found.info().to_dict())


def cpupool_migrate(domain: DomainName, pool: PoolName, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Move a domain to another CPU pool.

    Example: pyxen cpupool-migrate web1 fast

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.set_cpupool(pool_of(host, pool))
        report(found, as_json=as_json)


def cpupool_numa_split(uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Make a CPU pool of each NUMA node.

    Example: pyxen cpupool-numa-split

    JSON: a list of CpupoolInfo.
    """
    with host_at(uri) as host:
        host.cpupools.numa_split()
        if as_json:
            document([info.to_dict() for info in host.cpupools.list()])


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "cpupool-list": cpupool_list,
    "cpupool-create": cpupool_create,
    "cpupool-destroy": cpupool_destroy,
    "cpupool-rename": cpupool_rename,
    "cpupool-cpu-add": cpupool_cpu_add,
    "cpupool-cpu-remove": cpupool_cpu_remove,
    "cpupool-migrate": cpupool_migrate,
    "cpupool-numa-split": cpupool_numa_split,
}
"""The commands of this module by name."""
