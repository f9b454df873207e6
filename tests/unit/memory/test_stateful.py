"""Whatever is done to a host in memory in whatever order, its figures add up, and its events tell what it lists."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from pyxen import (
    DeviceAdded,
    DeviceRemoved,
    Domain,
    DomainConfig,
    DomainCreated,
    DomainDestroyed,
    DomainExists,
    DomainNotFound,
    DomainRenamed,
    DomainShutdown,
    DomainState,
    InvalidState,
    MemoryTargetChanged,
    NoGuestDriver,
    NotEnoughMemory,
    OperationTimeout,
    Vif,
)
from pyxen.testing import FakeHost
from pyxen.testing.strategies import creatable_configs

REFUSALS = (DomainNotFound, InvalidState, NoGuestDriver, OperationTimeout, NotEnoughMemory, DomainExists)


class Hosts(RuleBasedStateMachine):
    """A host, and those who use it."""

    domains: Bundle[Domain] = Bundle("domains")
    files: Bundle[Path] = Bundle("files")

    @initialize()
    def open(self) -> None:
        self.fake = FakeHost(memory=700)
        self.free = self.fake.info().free_memory_kib
        self.events = self.fake.events()
        self.told: dict[tuple[int, Any], dict[str, Any]] = {}
        self.folder = TemporaryDirectory()
        self.saved = 0

    def teardown(self) -> None:
        if hasattr(self, "fake"):
            self.fake.close()
            self.folder.cleanup()

    def tried(self, call: Any) -> Any:
        """Do what may be refused, in one of the ways that are foreseen."""
        try:
            return call()
        except REFUSALS:
            return None

    @rule(target=domains, config=creatable_configs(most_memory=120), paused=st.booleans())
    def create(self, config: DomainConfig, *, paused: bool) -> Any:
        return self.tried(lambda: self.fake.create(config, paused=paused)) or self.fake.domains[0]

    @rule(domain=domains)
    def pause(self, domain: Domain) -> None:
        if domain.domid:
            self.tried(domain.pause)

    @rule(domain=domains)
    def unpause(self, domain: Domain) -> None:
        if domain.domid and domain in self.fake.domains and domain.info().state is DomainState.PAUSED:
            self.tried(domain.unpause)

    @rule(domain=domains, timeout=st.sampled_from([None, 1, 5, 60]))
    def shutdown(self, domain: Domain, timeout: float | None) -> None:
        if domain.domid:
            self.tried(lambda: domain.shutdown(timeout=timeout))

    @rule(domain=domains, name=st.sampled_from(["a", "b", "c"]))
    def rename(self, domain: Domain, name: str) -> None:
        if domain.domid:
            self.tried(lambda: domain.rename(name))

    @rule(domain=domains, memory=st.integers(1, 128))
    def set_memory(self, domain: Domain, memory: int) -> None:
        if domain.domid and domain in self.fake.domains:
            self.tried(lambda: domain.set_memory(min(memory, domain.config().effective_maxmem or 0)))

    @rule(domain=domains)
    def attach_and_detach(self, domain: Domain) -> None:
        vif = self.tried(lambda: domain.attach(Vif())) if domain.domid else None
        if vif is not None and domain.domid % 2:
            self.tried(lambda: domain.detach(vif, force=True))

    @rule(domain=domains)
    def crash(self, domain: Domain) -> None:
        if domain.domid and domain in self.fake.domains:
            self.fake.guest(domain).crash()

    @rule(target=domains, domain=domains)
    def preserve(self, domain: Domain) -> Any:
        return (self.tried(lambda: domain.preserve("-old")) if domain.domid else None) or domain

    @rule(target=files, domain=domains)
    def save(self, domain: Domain) -> Path:
        path = Path(self.folder.name, f"{self.saved}")
        self.saved += 1
        if domain.domid:
            self.tried(lambda: domain.save(path, timeout=60))
        return path

    @rule(target=domains, path=consumes(files))
    def restore(self, path: Path) -> Any:
        return (self.tried(lambda: self.fake.restore(path)) if path.exists() else None) or self.fake.domains[0]

    @rule(domain=domains)
    def destroy(self, domain: Domain) -> None:
        if domain.domid:
            self.tried(domain.destroy)

    @rule(seconds=st.sampled_from([0.05, 1, 10]))
    def let_time_pass(self, seconds: float) -> None:
        self.fake.advance(seconds)

    @invariant()
    def figures_add_up(self) -> None:
        if not hasattr(self, "fake"):
            return
        infos = self.fake.list()[1:]
        free = self.fake.info().free_memory_kib
        assert free >= 0
        assert self.free - free >= sum(info.memory_kib for info in infos)
        assert (not infos) <= (free == self.free)
        assert len({info.name for info in infos}) == len({info.uuid for info in infos}) == len(infos)
        assert all(1 <= info.vcpus <= info.maxvcpus for info in infos)

    @invariant()
    def events_tell_what_is_listed(self) -> None:
        if not hasattr(self, "fake"):
            return
        while (event := self.events.get(0)) is not None:
            assert event.domid is not None
            key = (event.domid, event.uuid)
            match event:
                case DomainCreated():
                    assert key not in self.told
                    self.told[key] = {"name": event.name, "devices": set(), "reason": None}
                case DeviceAdded():
                    self.told[key]["devices"].add((event.kind, event.devid))
                case DeviceRemoved():
                    self.told[key]["devices"].remove((event.kind, event.devid))
                case DomainRenamed():
                    self.told[key]["name"] = event.new
                case DomainShutdown():
                    self.told[key]["reason"] = event.reason
                case MemoryTargetChanged():
                    assert event.target_kib > 0
                case DomainDestroyed():
                    del self.told[key]
        infos = {(info.domid, info.uuid): info for info in self.fake.list()[1:]}
        assert infos.keys() == {key for key in self.told if key[0]}
        for key, info in infos.items():
            assert self.told[key]["name"] == info.name
            assert info.shutdown_reason in {None, self.told[key]["reason"]}


EXAMPLES = 100 if "PYXEN_RANDOM" in os.environ else 8  # `make fuzz` takes its time

Hosts.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
TestHosts = Hosts.TestCase
