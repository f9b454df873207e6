"""Rates of a host's domains, for asyncio: CPU, disk and network usage between two samples.

Generated from `pyxen.sampler` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from uuid import UUID

from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.records.rates import domain_rates
from pyxen.records.stats import DomainRates, DomainStats

__all__ = ["Sampler"]


class Sampler:
    """Samples the statistics of all domains of a host: `pyxen.Sampler`, awaited.

    ::

        sampler = pyxen.aio.Sampler(xen)
        await sampler.sample()
        while True:
            await asyncio.sleep(1)
            for rates in await sampler.sample():
                print(rates.stats.info.name, rates.cpu_percent, rates.read_bytes_per_s, rates.rx_bytes_per_s)

    Use a sampler from one task at a time. Creating one does no I/O.

    Args:
        host: The host. The sampler does not close it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._before: dict[tuple[int, UUID], DomainStats[Domain]] = {}

    def __repr__(self) -> str:
        return f"<Sampler of {self._host!r}>"

    async def sample(self) -> tuple[DomainRates[Domain], ...]:
        """Take a sample, and return the rates since the sample before, ordered by domid.

        Only domains that are in both samples are returned. So the first call returns an empty tuple, and a domain that
        was created since the sample before is returned next time. It does not wait: the time between two calls is the
        time over which the rates are taken.

        Raises:
            UnsupportedFeature: This backend has no statistics.
        """
        stats, host = await self._host.stats(), await self._host.info()
        before = self._before
        self._before = {(each.info.domid, each.info.uuid): each for each in stats}
        rates = []
        for key, after in self._before.items():
            between = domain_rates(before[key], after, host.nr_cpus) if key in before else None
            if between is not None:
                rates.append(between)
        return tuple(rates)
