"""What carries out probes on a host, and notes their values, errors and events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from pyxen import DeviceEvent, Domain, DomainConfig, DomainRenamed, Event, Host
from pyxen.config.enum_names import DomainTypeName
from tests.differential.plain import FIRST_DOMID, Leaves, of_error, of_event, of_value

__all__ = ["Call", "Prober", "World", "c"]

_SECONDS: Final = 60.0
"""The most that anything here may take."""

_LAST_DOMID: Final = 32_700
_SHARE: Final = 500
"""The domids that a scene can use."""


@dataclass(frozen=True, slots=True)
class Call:
    """A method, by its dotted path, and its arguments."""

    verb: str
    args: tuple[Any, ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        said = [*map(_shown, self.args), *(f"{name}={_shown(value)}" for name, value in self.options.items())]
        return f"{self.verb}({', '.join(said)})"


def c(verb: str, *args: Any, **options: Any) -> Call:
    """Make a call."""
    return Call(verb, args, options)


@dataclass(frozen=True, slots=True)
class World:
    """A host and what is on it.

    Attributes:
        host: The host.
        folder: A folder with ``data.img``, ``disc.iso``, and a folder ``sub``.
        kernels: The kernels of the guests by type; an HVM guest boots from a disk image.
        without_drivers: Makes the guest in a new HVM domain one without PV drivers, as the real one is.
    """

    host: Host
    folder: str
    kernels: dict[str, str]
    without_drivers: Callable[[Domain], None]


@dataclass(slots=True)
class Prober:
    """Carries out probes on a host.

    Attributes:
        world: The host and what is on it.
        outcomes: The leaves of each probe by its name: ``SCENE: CALL``.
        scene: The name of the scene that is being played.
    """

    world: World
    outcomes: dict[str, Leaves] = field(default_factory=dict)
    scene: str = ""
    _events: Any = None
    _marker: Domain | None = None
    _domid: int = 0
    _markers: int = 0

    @property
    def host(self) -> Host:
        """The host."""
        return self.world.host

    def play(self, scene: Callable[[Prober], None]) -> None:
        """Play a scene, and end the domains that it leaves."""
        before = {info.uuid for info in self.host.list()}
        self._domid = self._domid // _SHARE * _SHARE + _SHARE  # the domids do not depend on other scenes
        self._events = self.host.events()
        self._marker = self.host.create(self._marking(), paused=True, timeout=_SECONDS)
        self.scene = scene.__name__
        try:
            self._happened()
            scene(self)
        finally:
            self._events.close()
            for domain in self.host.domains:
                if domain.uuid not in before:
                    domain.destroy(timeout=_SECONDS)
                    self.await_gone(domain.domid)

    def _marking(self) -> DomainConfig:
        """Return the configuration of the domain that is renamed; events at the same time come in order of domids."""
        return self.tiny("marker", memory=4, domid=_LAST_DOMID - self._domid // _SHARE)

    def tiny(self, name: str, type: DomainTypeName = "pvh", **settings: Any) -> DomainConfig:  # noqa: A002 (as the field)
        """Return the configuration of a guest that idles, with a domid and a uuid that both hosts give it."""
        self._domid += 1
        domid = FIRST_DOMID + self._domid
        given: dict[str, Any] = {"domid": domid, "uuid": UUID(int=domid << 64 | 0x4000_0000_0000_0000), "memory": 8}
        if type != "hvm":
            given["kernel"] = self.world.kernels[type]
        return DomainConfig(name, type=type, **{**given, **settings})

    def ask(self, subject: object, *calls: Call, as_: str = "") -> None:
        """Make calls on an object that change nothing, or are refused."""
        for call in calls:
            self.probe(f"{as_ + '.' if as_ else ''}{call}", partial(_made, subject, call), happens=False)

    def do(self, subject: object, *calls: Call, as_: str = "") -> None:
        """Make calls on an object, and note the events of each."""
        for call in calls:
            self.probe(f"{as_ + '.' if as_ else ''}{call}", partial(_made, subject, call))

    def probe(self, name: str, function: Callable[[], object], *, happens: bool = True, always: bool = False) -> Any:
        """Carry out one probe and return its value; None if it failed.

        Args:
            name: What to call it.
            function: What it does.
            happens: Whether to note the events of a call that succeeds.
            always: Whether to note those of one that fails, too.
        """
        value: object = None
        try:
            value = function()
            leaves = of_value(value)
        except Exception as error:  # noqa: BLE001 (every error is an outcome)
            leaves = of_error(error)
            happens = always  # what happens all the same is an event of a later probe, which then differs
        if happens:
            leaves["events"] = "\n".join(_in_order(self._happened()))
        key = whole = f"{self.scene}: {name}"
        number = 1
        while key in self.outcomes:
            number += 1
            key = f"{whole} #{number}"
        self.outcomes[key] = leaves
        return value

    def create(self, config: DomainConfig, *, paused: bool = False) -> Domain:
        """Create a domain, as a probe; one that runs is idle when this returns."""

        def make() -> Domain:
            domain = self.host.create(config, paused=paused, timeout=_SECONDS)
            if config.type == "hvm":
                self.world.without_drivers(domain)
            if not paused:
                self.await_rest(domain)
            return domain

        domain = self.probe(f"create {config.name} ({config.type})", make)
        assert isinstance(domain, Domain), self.outcomes[list(self.outcomes)[-1]]
        return domain

    def await_rest(self, domain: Domain) -> None:
        """Wait until a guest has nothing to do, or has ended."""
        self.until(lambda: domain.info().state.name in {"BLOCKED", "SHUTDOWN", "CRASHED"})

    def await_gone(self, domid: int) -> None:
        """Wait until a destroyed domain is not in the list."""
        self.until(lambda: all(info.domid != domid for info in self.host.list()))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        late = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < late, f"{self.scene}: it did not happen in time"
            time.sleep(0.01)

    def _happened(self) -> list[Event]:
        """Return the events since the last call.

        They are all that come before a renaming that this function does itself. What is told of one look at a host
        comes in any order, so the renaming is done twice: the second time nothing is left of the look before.
        """
        found = [*self._up_to_marker(), *self._up_to_marker()]
        assert self._marker is not None
        marker = self._marker.uuid
        return [event for event in found if event.uuid != marker]

    def _up_to_marker(self) -> list[Event]:
        assert self._marker is not None
        self._markers += 1
        name = f"marker-{self._markers}"
        self.host.xenstore.write(f"/local/domain/{self._marker.domid}/name", name)
        found: list[Event] = []
        while True:
            event = self._events.get(timeout=_SECONDS)
            assert event is not None, "the events broke off"
            if isinstance(event, DomainRenamed) and event.new == name:
                return found
            found.append(event)


def _in_order(events: list[Event]) -> list[str]:
    """Return events in one line each; those of several devices at a time come in any order, and are sorted."""
    found: list[str] = []
    for kind, some in groupby(events, type):
        lines = [of_event(event) for event in some]
        found += sorted(lines) if issubclass(kind, DeviceEvent) else lines
    return found


def _made(subject: Any, call: Call) -> object:
    *path, verb = call.verb.split(".")
    for name in path:
        subject = getattr(subject, name)
    method = getattr(subject, verb)
    return method(*call.args, **call.options) if callable(method) else method


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…"
