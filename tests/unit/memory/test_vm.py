"""A virtual machine on a host in memory, through its restarts, and what other programs write about it."""

from __future__ import annotations

import asyncio
import threading

import pytest

import pyxen
from pyxen import Disk, DomainDestroyed, DomainRenamed, MemoryTargetChanged, OperationTimeout
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config
from tests.waiting import join


def test_the_next_start(fake: FakeHost) -> None:
    fake.define(config(), autostart=True)
    domain = fake.start(config().name)
    vm = fake.vm(domain.uuid)
    found: list[pyxen.Domain] = []
    waiting = threading.Thread(target=lambda: found.append(vm.wait_start(after=domain)))
    waiting.start()
    fake.restart()
    join(waiting)
    assert found == [vm.domain()]
    assert found[0] != domain


def test_a_wait_that_times_out_takes_no_real_time(fake: FakeHost) -> None:
    with pytest.raises(OperationTimeout):
        fake.vm("0b3f1a4e-8e0f-4d1c-9f5b-2f1d6c1b8a77").wait_start(timeout=86400)


def test_a_vm_that_is_awaited(fake: FakeHost) -> None:
    async def main() -> None:
        async with fake.aio() as xen:
            domain = await xen.create(config())
            vm = xen.vm(domain.uuid)
            assert await vm.domain() == await vm.get() == await vm.wait_start() == domain
            assert (await vm.info()).domain == domain
            assert [guest.domid async for guest in xen.guests] == [domain.domid]
            assert await xen.guests.get(0) is None
            starting = asyncio.create_task(vm.wait_start(after=domain))
            await domain.destroy()
            again = await xen.create(config(uuid=domain.uuid))
            assert await starting == again

    asyncio.run(main())


def test_a_memory_target_that_another_program_writes(fake: FakeHost) -> None:
    domain = fake.create(config(memory=128, maxmem=256))
    fake.guest(domain).boot()
    with fake.events(MemoryTargetChanged) as events:
        fake.xenstore.write(f"{domain.xenstore_path}/memory/target", str(64 * 1024))
        event = events.get(5)
    assert event is not None
    fake.advance(10)
    assert domain.info().memory_kib == 64 * 1024
    fake.xenstore.write(f"{domain.xenstore_path}/memory/target", str(10**9))
    fake.advance(10)
    assert domain.info().memory_kib <= domain.info().maxmem_kib  # Xen's limit, which only set_memory changes


@pytest.mark.parametrize("value", ["", "-1", "many", "1.5"])
def test_a_memory_target_that_is_no_number(fake: FakeHost, value: str) -> None:
    domain = fake.create(config(memory=128))
    fake.xenstore.write(f"{domain.xenstore_path}/memory/target", value)
    assert domain.info().memory_kib == 128 * 1024


def test_a_shutdown_that_another_program_asks_for(fake: FakeHost) -> None:
    domain = fake.create(config(on_poweroff="preserve"))
    fake.guest(domain).boot()
    request = f"{domain.xenstore_path}/control/shutdown"
    with fake.xenstore.watch(request) as watch:
        fake.xenstore.write(request, "poweroff")
        assert domain.wait(timeout=60) is not None
        assert fake.xenstore.read(request) == ""
        assert [watch.get(5) is not None for _ in range(3)] == [True] * 3
    assert domain.info().shutdown_reason == pyxen.ShutdownReason.POWEROFF


def test_a_shutdown_is_seen_in_xenstore(fake: FakeHost) -> None:
    domain = fake.create(config())
    request = f"{domain.xenstore_path}/control/shutdown"
    fake.guest(domain).answers = False
    with fake.xenstore.watch(request) as watch:
        watch.get(5)
        asked = domain.begin.shutdown(timeout=5)
        assert watch.get(5) is not None
        assert fake.xenstore.read(request) == "poweroff"
        with pytest.raises(OperationTimeout):
            asked.result(5)


def test_devices_come_and_go(fake: FakeHost) -> None:
    domain = fake.create(config())
    top, back = domain.xenstore_path, f"/local/domain/0/backend/vbd/{domain.domid}"
    domain.attach(Disk("/dev/vg0/data", vdev="xvdb"))
    assert fake.xenstore.list(f"{top}/device/vbd") == ["51728"]
    assert fake.xenstore.read(f"{back}/51728/params") == "/dev/vg0/data"
    assert fake.xenstore.read(f"{top}/device/vbd/51728/backend") == f"{back}/51728"
    fake.guest(domain).boot()
    assert fake.xenstore.read(f"{top}/device/vbd/51728/state") == "4"
    domain.detach("xvdb")
    assert not fake.xenstore.exists(back)
    assert not fake.xenstore.exists(f"{top}/device/vbd")
    domain.destroy()
    assert not fake.xenstore.exists(top)
    assert fake.xenstore.list("/libxl") == fake.xenstore.list("/vm") == []
    assert fake.xenstore.list("/local/domain") == ["0"]


def test_a_preserved_domain_has_its_new_uuid(fake: FakeHost) -> None:
    domain = fake.create(config(on_crash="preserve"))
    fake.guest(domain).crash()
    with fake.events(DomainDestroyed, DomainRenamed) as events:
        kept = domain.preserve("-old")
        assert isinstance(events.get(5), DomainDestroyed)
        assert events.get(0) is None
    assert fake.xenstore.read(f"{kept.xenstore_path}/vm") == f"/vm/{kept.uuid}"
    assert fake.xenstore.read(f"{kept.xenstore_path}/name") == kept.name
    assert fake.xenstore.list("/vm") == [str(kept.uuid)]


def test_a_failure_that_a_test_asks_for(fake: FakeHost) -> None:
    fake.fail("xenstore", pyxen.XenstoreQuota("no"), times=2)
    for call in (lambda: fake.xenstore.write("/tool/a", "1"), lambda: fake.xenstore.watch("/tool")):
        with pytest.raises(pyxen.XenstoreQuota):
            call()
    fake.xenstore.write("/tool/a", "1")
