r"""Hosts as workers of Dask's distributed, which needs an extra: ``pip install 'pyxen[distributed]'``.

A worker a host, in its dom0 or elsewhere with the host's URI::

    dask worker tls://scheduler:8786 --name host1 --no-nanny --nthreads 64 \
        --preload pyxen.distributed.worker --uri xenlight:///

and a `Fleet` in the program::

    async with Client("tls://scheduler:8786", asynchronous=True) as client, Fleet(client) as fleet:
        guest = await fleet.create(config)
        print(guest.host, await guest.call(Domain.info))
"""

from __future__ import annotations

try:
    import distributed  # noqa: F401 (without it, the modules below have nothing to build on)
except ModuleNotFoundError as error:
    if error.name not in {"distributed", "dask"}:
        raise
    raise ModuleNotFoundError(
        "pyxen.distributed needs distributed, which is not installed: pip install 'pyxen[distributed]'",
        name="distributed",
    ) from None

from pyxen.distributed.fleet import Fleet, FleetGuest
from pyxen.distributed.worker import HostPlugin

__all__ = ["Fleet", "FleetGuest", "HostPlugin"]
