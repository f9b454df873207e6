"""The locks that belong to modules, not to a host, in the child of a fork."""

from __future__ import annotations

from pathlib import Path

import pyxen
from pyxen import DomainConfig
from pyxen._common import xl_lock
from pyxen.backends.memory import address
from pyxen.testing import FakeHost
from tests.forks import locks_of_modules, told_by_a_child, told_under


def _held() -> set[str]:
    return {name for name, lock in locks_of_modules() if not lock.acquire(blocking=False)}


def test_the_child_of_a_fork_has_all_of_them_free() -> None:
    locks = dict(locks_of_modules())
    modules = {name.split()[0].removeprefix("pyxen.") for name in locks}
    at_least = {"_common.xl_lock", "backends.libvirt.event_loop", "backends.memory.address"}
    assert modules >= {*at_least, "backends.xenlight.libxl.context"}  # it leads to that of `hung_xenstored`
    assert told_under(locks.values(), {"held": _held}) == {"held": "set()"}


def test_a_child_opens_a_simulated_host_of_its_own() -> None:
    config = DomainConfig("web", kernel="/boot/vmlinuz", memory=64)

    def names() -> list[str | None]:
        with pyxen.connect("memory:///demo") as host:
            host.create(config)
            return [domain.name for domain in host.guests]

    with pyxen.connect("memory:///demo") as host:
        host.create(config)
        engine = host._backend.machine.engine  # type: ignore[attr-defined]
        for lock in (address._lock, engine.changed):
            assert told_under([lock], {"names": names}) == {"names": "['web']"}
        assert [domain.name for domain in host.guests] == ["web"]


def test_a_child_opens_no_fake_host_of_its_parent() -> None:
    with FakeHost() as fake:
        fake.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))

        def count() -> int:
            with pyxen.connect(fake.uri) as host:
                return len(host.guests)

        assert told_by_a_child([count]) == ["0"]


def test_a_child_takes_the_lock_of_xl(tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert xl_lock.try_to_take(first)

    def use() -> bool:
        xl_lock.give_back(first)  # of the parent
        return xl_lock.try_to_take(second)

    assert told_under([xl_lock._gate], {"use": use}) == {"use": "True"}
    xl_lock.give_back(first)
