"""The disks of guests: `pyxen.storage`, awaited.

If a task is cancelled, LVM's tool or qemu-img is ended, and what it has made is removed before the task goes on; what
is complete by then stays.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from pyxen import storage as blocking
from pyxen.aio._programs import awaited
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.config import Disk
from pyxen.errors import DomainNotFound, NotFound
from pyxen.features import Feature
from pyxen.storage import Image, Volume, VolumeGroupInfo
from pyxen.storage.volumegroup import TIMEOUT

__all__ = ["Image", "Volume", "VolumeGroup", "VolumeGroupInfo", "create_image", "image_info", "volume_groups"]

P = ParamSpec("P")
T = TypeVar("T")

create_image = awaited(blocking.create_image, __name__)
image_info = awaited(blocking.image_info, __name__)
volume_groups = awaited(blocking.volume_groups, __name__)


class _Group(blocking.VolumeGroup):
    """A volume group of a host whose disks are known."""

    def __init__(self, name: str, timeout: float, disks: Iterable[tuple[str, Disk]]) -> None:
        super().__init__(name, timeout=timeout)
        self._found = disks

    def _disks(self) -> Iterable[tuple[str, Disk]]:
        return self._found


def _method(
    call: Callable[Concatenate[blocking.VolumeGroup, P], T],
) -> Callable[Concatenate[VolumeGroup, P], Coroutine[Any, Any, T]]:
    """Return the awaited method for one of the blocking class."""

    @functools.wraps(call)
    async def method(self: VolumeGroup, *args: P.args, **kwargs: P.kwargs) -> T:
        return await awaited(call, __name__)(await self._asked(), *args, **kwargs)

    method.__module__ = __name__
    return method  # type: ignore[return-value]  # mypy takes `self` for a keyword that a caller may use


class VolumeGroup:
    """A volume group: its volumes by name, ``await group["web1"]``. Each lookup asks LVM; nothing is cached.

    ``async for volume in group`` iterates over them.

    Args:
        name: Its name, e.g. ``vg0``.
        host: The host whose domains are asked which volumes they have, so that none is removed or shrunk that a domain
            holds. Without it, only the kernel is asked whether the volume is open.
        timeout: Seconds for each of LVM's tools.

    Raises:
        InvalidArgument: The name is not valid.
    """

    def __init__(self, name: str, *, host: Host | None = None, timeout: float = TIMEOUT) -> None:
        self.name = blocking.VolumeGroup(name).name
        self._host = host
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<VolumeGroup: {self.name}>"

    async def __aiter__(self) -> AsyncIterator[Volume]:
        for each in await self.volumes():
            yield each

    __getitem__ = _method(blocking.VolumeGroup.__getitem__)
    get = _method(blocking.VolumeGroup.get)
    volumes = _method(blocking.VolumeGroup.volumes)
    info = _method(blocking.VolumeGroup.info)
    create = _method(blocking.VolumeGroup.create)
    create_pool = _method(blocking.VolumeGroup.create_pool)
    snapshot = _method(blocking.VolumeGroup.snapshot)
    resize = _method(blocking.VolumeGroup.resize)
    remove = _method(blocking.VolumeGroup.remove)

    async def _asked(self) -> _Group:
        """Return the group for a blocking call, with what the host says of its disks."""
        disks = [] if self._host is None else [disk async for disk in _disks(self._host)]
        return _Group(self.name, self._timeout, disks)


async def _disks(host: Host) -> AsyncIterator[tuple[str, Disk]]:
    """Yield the disks of all domains, those that are stored and do not run, too, each with the name of its domain."""
    async for domain in host.domains:
        name = domain.name or f"domid {domain.domid}"
        with contextlib.suppress(DomainNotFound):
            for disk in await _disks_of(host, domain):
                yield name, disk
    if host.supports(Feature.DEFINE):
        for stored in await host.defined():
            with contextlib.suppress(NotFound, DomainNotFound):
                for disk in (await host.defined_config(stored.name)).disks:
                    yield stored.name, disk


async def _disks_of(host: Host, domain: Domain) -> Iterable[Disk]:
    if host.supports(Feature.LIVE_DEVICES):
        return [live.config for live in await domain.disks.list()]
    return (await domain.config()).disks
