"""Events, computed as the difference between the last known state of all domains and their current state.

A watch event names a node but carries no value, and ``@introduceDomain`` does not even name a domain. So a watch event
is only a hint to look again, and the differences become events. No change is lost: everything is read after the hint
arrived, so a change that comes too late for the reading causes another hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pyxen.backends.xenlight.xenstore import nodes
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.backends.xenlight.xenstore.nodes import Device, DeviceKey
from pyxen.backends.xenlight.xenstore.watch_hints import COMING, DEVICES, GOING, WatchHints
from pyxen.events import (
    DeviceAdded,
    DeviceRemoved,
    DiskEjected,
    DomainCreated,
    DomainDestroyed,
    DomainRenamed,
    DomainShutdown,
    Event,
    EventsLost,
    MemoryTargetChanged,
)
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason

__all__ = ["EventDiff"]


@dataclass(slots=True)
class _Known:
    """The last known state of a domain."""

    domid: int
    uuid: UUID
    name: str | None = None
    target_kib: int | None = None
    reason: ShutdownReason | int | None = None
    devices: dict[tuple[str, int], Device] = field(default_factory=dict)

    def copy(self) -> _Known:
        return replace(self, devices={key: replace(device) for key, device in self.devices.items()})

    def about(self) -> dict[str, Any]:
        """Return the fields that all events of this domain have."""
        return {"domid": self.domid, "uuid": self.uuid, "name": self.name, "time": datetime.now(UTC)}


class EventDiff:
    """Yields the events of a host's domains. For one thread, which also owns the connection.

    The iterators that it returns must be exhausted. If the connection breaks, events yielded so far are not repeated.

    Args:
        xenstore: The connection. This consumes its watch events.
        look: Returns the current state of all domains; names are not needed.

    Raises:
        ConnectFailed: The connection broke.
    """

    def __init__(self, xenstore: Connection, look: Callable[[], list[DomainInfo]]) -> None:
        self._xenstore = xenstore
        self._look = look
        self._known: dict[int, _Known] = {}
        self._comings = 0  # introduced domains not seen yet; negative: seen before their watch event
        for _ in self._begin():
            pass  # domains that exist already cause no events

    def take(self) -> Iterator[Event]:
        """Yield the events for the watch events that have arrived, without waiting."""
        return self._follow(self._watch_hints())

    def settle(self) -> Iterator[Event]:
        """Yield all events up to now."""
        self._catch_up()
        return self.take()

    def resume(self) -> Iterator[Event]:
        """Look again after a failure, over a new connection if that broke.

        Yield an `EventsLost`, then the events for all differences. If this fails, nothing is yielded, and the next call
        finds all of it.
        """
        self._xenstore.ensure_open()
        known = {domid: domain.copy() for domid, domain in self._known.items()}
        self._comings = 0  # what was counted before the gap is among the differences
        try:
            differences = list(self._begin())
        except BaseException:
            self._known = known
            raise
        yield EventsLost(time=datetime.now(UTC), count=None)
        yield from differences

    def _begin(self) -> Iterator[Event]:
        """Set all watches, then compare the known state with the current one."""
        domids = list(self._known)
        begun = nodes.watch(self._xenstore, [COMING, GOING, DEVICES, *nodes.of_domains(domids)])
        while not begun <= {token for _, token in self._xenstore.events}:
            self._xenstore.receive()
        self._xenstore.events.clear()  # the initial event of each watch, which the kernel may delay
        yield from self._follow(WatchHints(look=True, settings=set(domids), records=set(domids)))
        # Some of these domains may have arrived after the watch was set.
        self._comings = 0
        while (watch_hints := self._watch_hints()).comings:
            yield from self._follow(replace(watch_hints, comings=0))
            self._comings = 0
            self._catch_up()
        yield from self._follow(watch_hints)

    def _catch_up(self) -> None:
        # xenstored sends earlier watch events before the answer to a later request.
        self._xenstore.batch([(Verb.GET_DOMAIN_PATH, b"0\0")])

    def _watch_hints(self) -> WatchHints:
        watch_hints = WatchHints.of(self._xenstore.events)
        self._xenstore.events.clear()
        return watch_hints

    def _follow(self, watch_hints: WatchHints) -> Iterator[Event]:
        if not watch_hints.look:
            yield from self._settings(watch_hints.settings)
            yield from self._devices(watch_hints)
            return
        infos = self._look()
        gone = self._gone(infos)
        watch_hints.records.update(domain.domid for domain in gone)  # report their devices' removal first
        watch_hints.forget({domain.domid for domain in gone if _replaced(domain, infos)})
        yield from self._settings(watch_hints.settings)
        yield from self._devices(watch_hints)
        yield from self._shutdowns(infos)
        yield from self._go(gone)
        self._comings += watch_hints.comings
        self._comings += sum(_preserved(domain, infos) for domain in gone)  # these reappear without an introduction
        yield from self._come(infos)

    # Domains

    def _gone(self, infos: Iterable[DomainInfo]) -> list[_Known]:
        alive = {(info.domid, info.uuid) for info in infos if info.state is not DomainState.DYING}
        return [domain for domain in self._known.values() if (domain.domid, domain.uuid) not in alive]

    def _go(self, gone: Iterable[_Known]) -> Iterator[Event]:
        for domain in gone:
            del self._known[domain.domid]
            yield DomainDestroyed(**domain.about())
        nodes.unwatch(self._xenstore, nodes.of_domains(domain.domid for domain in gone))

    def _come(self, infos: Iterable[DomainInfo]) -> Iterator[Event]:
        """Add new domains once they are introduced: before that, their creation may still fail."""
        new = [info for info in infos if info.domid not in self._known and info.state is not DomainState.DYING]
        there = nodes.introduced(self._xenstore, [info.domid for info in new])
        arrived = [_Known(info.domid, info.uuid) for info, here in zip(new, there, strict=True) if here]
        self._comings -= len(arrived)
        if self._comings > 0:  # domains that were destroyed before we could look
            yield EventsLost(time=datetime.now(UTC), count=2 * self._comings)
            self._comings = 0
        domids = [domain.domid for domain in arrived]
        nodes.watch(self._xenstore, nodes.of_domains(domids))
        keys = nodes.device_keys(self._xenstore, domids)
        devices = nodes.devices(self._xenstore, keys)
        settings = nodes.settings(self._xenstore, domids)
        for domain, (name, target) in zip(arrived, settings, strict=True):
            domain.name, domain.target_kib = name, target
            self._known[domain.domid] = domain
            yield DomainCreated(**domain.about())
            for key, device in zip(keys, devices, strict=True):
                if key[0] == domain.domid:
                    yield from self._device(domain, key, device)
        yield from self._shutdowns(new)

    def _shutdowns(self, infos: Iterable[DomainInfo]) -> Iterator[Event]:
        for info in infos:
            domain = self._known.get(info.domid)
            if domain is not None and domain.uuid == info.uuid and domain.reason != info.shutdown_reason:
                if domain.reason == ShutdownReason.SOFT_RESET:
                    self._comings -= 1  # a soft reset introduces it again, but it is not a new domain
                domain.reason = info.shutdown_reason  # None: a suspended guest was resumed
                if info.shutdown_reason is not None:
                    yield DomainShutdown(**domain.about(), reason=info.shutdown_reason)

    # Settings and devices

    def _settings(self, domids: Iterable[int]) -> Iterator[Event]:
        present = [domid for domid in domids if domid in self._known]
        for domid, (name, target) in zip(present, nodes.settings(self._xenstore, present), strict=True):
            domain = self._known[domid]
            if name is not None and name != domain.name:  # None: the domain is being destroyed
                old, domain.name = domain.name, name
                yield DomainRenamed(**domain.about(), old=old, new=name)
            if target is not None and target != domain.target_kib:
                domain.target_kib = target
                yield MemoryTargetChanged(**domain.about(), target_kib=target)

    def _devices(self, watch_hints: WatchHints) -> Iterator[Event]:
        keys = dict.fromkeys(sorted(watch_hints.devices))
        for domid in watch_hints.records & self._known.keys():
            keys.update(((domid, kind, devid), None) for kind, devid in self._known[domid].devices)
        keys.update(dict.fromkeys(nodes.device_keys(self._xenstore, sorted(watch_hints.records & self._known.keys()))))
        present = [key for key in keys if key[0] in self._known]
        for key, device in zip(present, nodes.devices(self._xenstore, present), strict=True):
            yield from self._device(self._known[key[0]], key, device)
        yield from self._drawers(sorted(watch_hints.drawers))

    def _device(self, domain: _Known, key: DeviceKey, device: Device | None) -> Iterator[Event]:
        _, kind, devid = key
        before = domain.devices.get((kind, devid))
        if device is None:
            if before is not None:
                del domain.devices[kind, devid]
                yield DeviceRemoved(**domain.about(), kind=kind, devid=devid, backend=before.backend)
            return
        domain.devices[kind, devid] = device
        if before is None:
            yield DeviceAdded(**domain.about(), kind=kind, devid=devid, backend=device.backend)
        elif before.medium and before.medium != device.medium:
            yield _ejected(domain, devid, device)

    def _drawers(self, disks: Sequence[tuple[int, int]]) -> Iterator[Event]:
        for (domid, devid), asked in zip(disks, nodes.ejected(self._xenstore, disks), strict=True):
            domain = self._known.get(domid)
            disk = domain.devices.get(("vbd", devid)) if domain is not None else None
            if asked and domain is not None and disk is not None and disk.medium:
                disk.medium = ""
                yield _ejected(domain, devid, disk)


def _replaced(domain: _Known, infos: Iterable[DomainInfo]) -> bool:
    """Tell whether another domain has the domid now, so that xenstore's entries are about that one."""
    return any(info.domid == domain.domid and info.uuid != domain.uuid for info in infos)


def _preserved(domain: _Known, infos: Iterable[DomainInfo]) -> bool:
    """Tell whether a domain that has ended seems gone only because it was given another uuid."""
    ended = (domain.domid, domain.reason)
    return domain.reason is not None and any(
        (info.domid, info.shutdown_reason) == ended and info.uuid != domain.uuid and info.state is not DomainState.DYING
        for info in infos
    )


def _ejected(domain: _Known, devid: int, disk: Device) -> DiskEjected:
    return DiskEjected(**domain.about(), kind="vbd", devid=devid, backend=disk.backend, vdev=disk.vdev)
