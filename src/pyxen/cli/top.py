"""``pyxen top``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pyxen._durations import LONGEST_WAIT
from pyxen.cli.options import AsJson, Uri, seconds
from pyxen.cli.output import document, is_terminal, render, table
from pyxen.cli.session import host_at
from pyxen.records.stats import DomainRates
from pyxen.sampler import Sampler

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["COMMANDS"]

_KIB_PER_MIB: Final = 1024
_HEAD: Final = ["Name", "ID", "State", "CPU(%)", "CPU(s)", "Mem", "VCPUs", "Rx/s", "Tx/s", "Read/s", "Write/s"]
_NS_PER_S: Final = 10**9
_UNITS: Final = ("B", "K", "M", "G", "T")


class Order(StrEnum):
    """What domains are ordered by."""

    CPU = "cpu"
    MEMORY = "memory"
    NETWORK = "network"
    DISK = "disk"
    NAME = "name"
    DOMID = "domid"


_KEYS: Final[dict[Order, Callable[[DomainRates], tuple[float | str, ...]]]] = {
    Order.CPU: lambda rates: (-rates.cpu_percent,),
    Order.MEMORY: lambda rates: (-rates.stats.memory_kib,),
    Order.NETWORK: lambda rates: (-rates.rx_bytes_per_s - rates.tx_bytes_per_s,),
    Order.DISK: lambda rates: (-rates.read_bytes_per_s - rates.write_bytes_per_s,),
    Order.NAME: lambda rates: (rates.stats.info.name or "",),
    Order.DOMID: lambda rates: (rates.stats.info.domid,),
}


def top(
    uri: Uri = "",
    delay: Annotated[
        float, typer.Option("--delay", "-d", metavar="SECONDS", min=0.01, callback=seconds, help="Between samples.")
    ] = 1.0,
    iterations: Annotated[
        int | None, typer.Option("--iterations", "-i", min=1, help="How many samples. Default: until Ctrl-C.")
    ] = None,
    order: Annotated[Order, typer.Option("--sort", "-s", help="What to order by, the most first.")] = Order.CPU,
    *,
    once: Annotated[bool, typer.Option("--once", "-1", help="One sample: the rates over one delay.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what domains use: CPU in percent of one CPU, memory in MiB, traffic and I/O in bytes per second.

    Example: pyxen top --once --json

    JSON: a list of DomainRates; without --once, one for each sample, on a line.
    """
    delay = min(delay, LONGEST_WAIT)
    with host_at(uri, follows=True) as host:
        samples = _samples(Sampler(host), delay, 1 if once else iterations, order)
        if not as_json and not once and is_terminal():
            _live(samples)
            return
        for rates in samples:
            if as_json:
                document([each.to_dict() for each in rates], on_one_line=not once)
            else:
                table(_HEAD, _rows(rates), numbers=_NUMBERS)


def _samples(sampler: Sampler, delay: float, iterations: int | None, order: Order) -> Iterator[list[DomainRates]]:
    sampler.sample()
    taken = 0
    while iterations is None or taken < iterations:
        time.sleep(delay)
        taken += 1
        yield sorted(sampler.sample(), key=lambda rates: (*_KEYS[order](rates), rates.stats.info.domid))


def _live(samples: Iterator[list[DomainRates]]) -> None:
    from rich.live import Live

    live = Live(_table([]), auto_refresh=False, screen=True)
    try:  # not a with statement: Ctrl-C may come while it starts, and the screen must be given back
        live.start(refresh=True)
        for rates in samples:
            live.update(_table(rates), refresh=True)
    finally:
        live.stop()


def _table(rates: list[DomainRates]) -> Table:
    return render(_HEAD, _rows(rates), numbers=_NUMBERS)


_NUMBERS: Final = [*_HEAD[3:], "ID"]


def _rows(rates: list[DomainRates]) -> list[tuple[object, ...]]:
    return [
        (
            each.stats.info.name,
            each.stats.info.domid,
            each.stats.info.state,
            f"{each.cpu_percent:.1f}",
            f"{each.stats.cpu_time_ns / _NS_PER_S:.0f}",
            each.stats.memory_kib // _KIB_PER_MIB,
            each.stats.info.vcpus,
            _short(each.rx_bytes_per_s),
            _short(each.tx_bytes_per_s),
            _short(each.read_bytes_per_s),
            _short(each.write_bytes_per_s),
        )
        for each in rates
    ]


def _short(number: float) -> str:
    """Return a number of bytes with three or four digits and a unit of 1024."""
    for unit in _UNITS[:-1]:
        if number < _KIB_PER_MIB:
            return f"{number:.0f}{unit}" if unit == "B" or number >= 100 else f"{number:.1f}{unit}"
        number /= 1024
    return f"{number:.1f}{_UNITS[-1]}"


COMMANDS: Final[dict[str, Callable[..., None]]] = {"top": top}
"""The commands of this module by name."""
