"""Commands for the memory and the vCPUs of domains."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final

import typer

from pyxen._printable import quoted
from pyxen.cli.options import AsJson, DomainName, DomainNames, Uri
from pyxen.cli.output import document, table
from pyxen.cli.session import cpus_of, domain_of, host_at, report, vcpu_of
from pyxen.config import CpuSet
from pyxen.errors import ConfigError, DomainNotFound

__all__ = ["COMMANDS"]

_AMOUNT: Final = re.compile(r"(\d{1,18})([bkmgt]?)", re.IGNORECASE | re.ASCII)
_PER_MIB: Final = {"b": 1 << 20, "k": 1 << 10, "m": 1}
_MIB_IN: Final = {"": 1, "m": 1, "g": 1 << 10, "t": 1 << 20}
_UNCHANGED: Final = "-"
_NS_PER_S: Final = 10**9

Memory = Annotated[str, typer.Argument(metavar="MEMORY", help="In MiB, or with a unit: 512m, 2g, 524288k.")]


def mem_set(domain: DomainName, memory: Memory, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Set how much memory a guest should use, and limit it to that. The guest may take its time.

    Example: pyxen mem-set web1 1024

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.set_memory(_mib(memory))
        report(found, as_json=as_json)


def mem_max(domain: DomainName, memory: Memory, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Set the most memory that mem-set can give a domain.

    Example: pyxen mem-max web1 2048

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.set_maxmem(_mib(memory))
        report(found, as_json=as_json)


def _mib(text: str) -> float:
    """Return an amount of memory in MiB.

    Raises:
        ConfigError: It is not an amount.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ConfigError(f"{quoted(text)} is not an amount of memory: write 512, 512m, 2g or 524288k")
    amount, unit = int(match[1]), match[2].lower()
    return amount * _MIB_IN[unit] if unit in _MIB_IN else amount / _PER_MIB[unit]


def vcpu_list(domains: DomainNames = None, uri: Uri = "", *, as_json: AsJson = False) -> None:
    """Show the vCPUs of domains: where each is, what it has used, and where it may run.

    Example: pyxen vcpu-list web1

    JSON: a list of objects with domid, name and vcpus, a list of VcpuInfo.
    """
    with host_at(uri) as host:
        chosen = [domain_of(host, key) for key in domains] if domains else list(host.domains)
        found = []
        for domain in chosen:
            try:
                found.append((domain, domain.vcpus()))
            except DomainNotFound:
                if domains:
                    raise
                # It has ended since all were listed.
        everywhere = CpuSet([cpu.number for cpu in host.topology().cpus]) if host.supports("topology") else None
    if as_json:
        document(
            [
                {"domid": domain.domid, "name": domain.name, "vcpus": [vcpu.to_dict() for vcpu in vcpus]}
                for domain, vcpus in found
            ]
        )
        return

    def cpus(some: CpuSet) -> object:
        return "all" if some == everywhere else some

    rows = [
        (
            domain.name,
            domain.domid,
            vcpu.number,
            vcpu.cpu,
            vcpu.state,
            f"{vcpu.cpu_time_ns / _NS_PER_S:.1f}",
            f"{cpus(vcpu.cpus)} / {cpus(vcpu.cpus_soft)}",
        )
        for domain, vcpus in found
        for vcpu in vcpus
    ]
    head = ["Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity (Hard / Soft)"]
    table(head, rows, numbers=["ID", "VCPU", "CPU", "Time(s)"])


def vcpu_pin(
    domain: DomainName,
    vcpu: Annotated[str, typer.Argument(metavar="VCPU", help="Its number, or all.")],
    hard: Annotated[
        str, typer.Argument(metavar="HARD", help="CPUs where it may run: 0-3,^1, nodes:0, all; - leaves it.")
    ],
    soft: Annotated[str, typer.Argument(metavar="SOFT", help="Where it prefers to run, likewise.")] = _UNCHANGED,
    uri: Uri = "",
    *,
    force: Annotated[bool, typer.Option("--force", "-f", help="End a pinning by dom0's kernel.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the CPUs on which a vCPU may run, and those that it prefers.

    Example: pyxen vcpu-pin web1 all 2-3

    JSON: an object with domid, name and uuid.
    """
    number = vcpu_of(vcpu)
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.pin_vcpu(
            number,
            None if hard == _UNCHANGED else cpus_of(hard),
            cpus_soft=None if soft == _UNCHANGED else cpus_of(soft),
            force=force,
        )
        report(found, as_json=as_json)


def vcpu_set(
    domain: DomainName,
    vcpus: Annotated[int, typer.Argument(metavar="NUMBER", help="How many vCPUs.")],
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Set how many vCPUs a guest should use. The guest may take its time.

    Example: pyxen vcpu-set web1 2

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.set_vcpus(vcpus)
        report(found, as_json=as_json)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "mem-set": mem_set,
    "mem-max": mem_max,
    "vcpu-list": vcpu_list,
    "vcpu-pin": vcpu_pin,
    "vcpu-set": vcpu_set,
}
"""The commands of this module by name."""
