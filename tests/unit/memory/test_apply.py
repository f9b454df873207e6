"""Plans, applied to a simulated host: the domain is as asked afterwards, or a restart is needed for it."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyxen import (
    ApplyFailed,
    Disk,
    DomainConfig,
    DomainExists,
    InvalidState,
    Operation,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    Scheduler,
    UsbCtrl,
    UsbDev,
    ValidationError,
    Vif,
    aio,
    connect,
)
from pyxen.applying import plan_of
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.testing import FakeHost
from tests.waiting import join, until

UUID = "11111111-2222-3333-4444-555555555555"

MACS = [f"00:16:3e:00:00:0{number}" for number in range(4)]

vifs = st.lists(
    st.builds(lambda mac, bridge: Vif(bridge, mac=mac), st.sampled_from(MACS), st.sampled_from(["xenbr0", "xenbr1"])),
    max_size=3,
    unique_by=lambda vif: vif.mac,
)
configs = st.builds(
    lambda name, memory, more, vcpus, vifs, weight, cmdline: DomainConfig(
        name,
        type="pvh",
        kernel="/k",
        uuid=UUID,
        memory=memory,
        maxmem=memory + more,
        vcpus=vcpus,
        maxvcpus=4,
        vifs=vifs,
        scheduler=Scheduler(weight=weight),
        cmdline=cmdline,
    ),
    st.sampled_from(["web1", "web2"]),
    st.integers(8, 64),
    st.integers(0, 64),
    st.integers(1, 4),
    vifs,
    st.sampled_from([128, 512]),
    st.sampled_from([None, "quiet"]),
)


@settings(max_examples=60, deadline=None)
@given(first=configs, wanted=configs)
def test_afterwards_the_domain_is_as_asked(first: DomainConfig, wanted: DomainConfig) -> None:
    with FakeHost() as host:
        host.apply(first)
        done = host.apply(wanted)
        found = host.domains[UUID].config().diff(wanted)
        assert found == done.needs_restart, f"{found}\n{done}"
        assert {change.path for change in found.settings} <= {"cmdline"}
        assert host.apply(wanted).changed == ()


def planned(now: DomainConfig, wanted: DomainConfig) -> list[str]:
    """Return the steps of a plan as text."""
    return list(map(str, plan_of(now, wanted).steps))


HVM = DomainConfig("web1", type="hvm", memory=64)


def test_a_disc_is_changed_in_its_drive() -> None:
    drive = Disk("/one.iso", vdev="hdc", cdrom=True)
    with_one = HVM.replace(disks=[drive])
    (step,) = plan_of(with_one, HVM.replace(disks=[drive.replace(target="/two.iso")])).steps
    assert (step.verb, step.value.vdev, step.value.target) == ("insert_cdrom", "hdc", "/two.iso")
    (step,) = plan_of(with_one, HVM.replace(disks=[Disk(vdev="hdc", cdrom=True)])).steps
    assert (step.verb, step.value.vdev) == ("eject_cdrom", "hdc")


def test_a_drive_needs_a_restart() -> None:
    with_one = HVM.replace(disks=[Disk("/one.iso", vdev="hdc", cdrom=True)])
    for now, wanted in ((HVM, with_one), (with_one, HVM)):
        plan = plan_of(now, wanted)
        assert [step.verb for step in plan.steps] == (["eject_cdrom"] if wanted is HVM else [])
        assert plan.needs_restart == now.diff(wanted)
        (reason,) = plan.reasons
        assert "drives of an HVM guest" in reason
    empty = HVM.replace(disks=[Disk(vdev="hdc", cdrom=True)])
    assert plan_of(empty, HVM).steps == ()
    pv = DomainConfig("web1", type="pvh", kernel="/k", memory=16)
    drive = Disk("/one.iso", vdev="xvdc", cdrom=True)
    assert [step.verb for step in plan_of(pv, pv.replace(disks=[drive])).steps] == ["attach"]


def test_each_difference_has_its_reason() -> None:
    wanted = HVM.replace(vcpus=4, cmdline="x", firmware_override="/f", scheduler=Scheduler(kind="rtds"), cpus="0")
    plan = plan_of(HVM.replace(scheduler=Scheduler(kind="credit2")), wanted)
    left = len(plan.needs_restart.settings)
    assert len(plan.reasons) == left
    reasons = dict(reason.split(": ", 1) for reason in plan.reasons)
    assert reasons["vcpus"] == "the domain can have 1 at most, as it was created"
    assert "CPU pool" in reasons["scheduler.kind"]
    assert "backend" in reasons["cpus"]
    assert "fixed" in reasons["firmware_override"]


def test_cpus_are_compared_with_what_is_so_now() -> None:
    with FakeHost(cpus=4) as host:
        wanted = DomainConfig("web1", type="pvh", kernel="/k", memory=16, vcpus=2, cpus="0-1", cpus_soft="0")
        domain = host.apply(wanted).domain
        assert host.apply(wanted).changed == ()
        domain.pin_vcpu(1, "3")
        (step,) = host.apply(wanted).changed
        assert str(step) == "pin_vcpu 1 cpus=0-1"
        each = wanted.replace(cpus=["2", "3"], cpus_soft=None)
        assert [str(step) for step in host.apply(each).changed] == [
            "pin_vcpu 0 cpus=2 cpus_soft=0-3",
            "pin_vcpu 1 cpus=3 cpus_soft=0-3",
        ]
        assert [str(vcpu.cpus) for vcpu in domain.vcpus()] == ["2", "3"]
        free = wanted.replace(cpus=None, cpus_soft=None)
        (step,) = host.apply(free).changed
        assert str(step) == "pin_vcpu all cpus=0-3"
        assert host.apply(free).changed == ()
        (step,) = host.apply(wanted.replace(cpus="all,^0", cpus_soft=None)).changed
        assert str(step) == "pin_vcpu all cpus=1-3"
        assert not host.apply(wanted.replace(cpus="1-3", cpus_soft=None)).changed


def test_another_pool_and_its_cpus() -> None:
    with FakeHost(cpus=4) as host:
        wanted = DomainConfig("web1", type="pvh", kernel="/k", memory=16, cpus="0")
        domain = host.apply(wanted).domain
        host.cpupools["Pool-0"].remove_cpus("3")
        host.cpupools.create("fast", cpus="3")
        moved = wanted.replace(pool="fast", cpus="3")
        assert [str(step) for step in host.apply(moved).changed] == ["set_cpupool fast", "pin_vcpu all cpus=3"]
        assert domain.info().pool == "fast"
        assert host.apply(moved).changed == ()
        number = moved.replace(pool=None, poolid=domain.info().poolid)
        assert host.apply(number).changed == ()
        with pytest.raises(ApplyFailed, match="this one failed: set_cpupool nowhere"):
            host.apply(moved.replace(pool="nowhere"))


def test_begun() -> None:
    with FakeHost() as host:
        begun = host.begin.apply(HVM.replace(memory=16))
        assert begun.result(60).created
        begun = host.begin.apply(HVM.replace(memory=8, maxmem=16), dry_run=True)
        assert [step.verb for step in begun.result(60).changed] == ["set_memory"]
        with pytest.raises(ValidationError):
            host.begin.apply(HVM.replace(memory=16, maxmem=8))


def test_cancelled_steps_stay() -> None:
    with FakeHost() as host:
        now = DomainConfig("web1", type="pvh", kernel="/k", memory=16, maxmem=32, vifs=[Vif(mac=MACS[0])])
        domain = host.create(now)
        host.guest(domain).answers = False  # it does not release the vif
        begun = host.begin.apply(now.replace(memory=8, vifs=[]))
        until(lambda: domain.config().memory == 8, "the first step is not made")
        begun.cancel()
        try:
            begun.result(60)
        except OperationCancelled as error:
            assert error.operation == "apply"  # noqa: PT017 (a step that could not be stopped may have ended)
        assert domain.config().memory == 8


def test_persistent() -> None:
    with FakeHost() as host:
        made = host.apply(HVM.replace(memory=16), persistent=True)
        assert host.defined_config("web1").memory == 16
        wanted = HVM.replace(memory=8, maxmem=16, boot="d")
        assert host.apply(wanted, persistent=True).reasons == ("boot: it is fixed when a domain is created",)
        assert host.defined_config(made.domain.uuid) == wanted.replace(uuid=made.domain.uuid)
        (defined,) = host.defined()
        assert (defined.uuid, defined.domid) == (made.domain.uuid, made.domain.domid)


def test_persistent_and_kept_before() -> None:
    """A create gets the uuid under which its name is kept."""
    with FakeHost() as host:
        kept = host.define(HVM)
        assert host.apply(HVM.replace(memory=16), persistent=True).domain.uuid == kept.uuid
        assert [(one.uuid, one.domid is not None) for one in host.defined()] == [(kept.uuid, True)]
        assert host.defined_config(kept.uuid).memory == 16


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_cannot_be_kept_is_refused_before_anything_is_done(dry_run: bool) -> None:
    with FakeHost() as host:
        host.define(HVM)
        with pytest.raises(DomainExists, match="undefine that one"):
            host.apply(HVM.replace(uuid=UUID), persistent=True, dry_run=dry_run)
        assert list(host.guests) == []
        running = host.create(HVM.replace(uuid=UUID))
        with pytest.raises(DomainExists, match="undefine that one"):
            host.apply(HVM.replace(memory=16), persistent=True, dry_run=dry_run)
        assert running.config().memory == HVM.memory


def test_what_was_created_and_cannot_be_kept_is_destroyed() -> None:
    with FakeHost() as host:
        host.fail("define", OperationFailed("the disk is full"))
        with pytest.raises(OperationFailed, match="the disk is full"):
            host.apply(HVM, persistent=True)
        assert list(host.guests) == []


def test_what_was_changed_and_cannot_be_kept_stays() -> None:
    with FakeHost() as host:
        domain = host.create(HVM)
        host.fail("define", OperationFailed("the disk is full"))
        with pytest.raises(ApplyFailed, match="the configuration could not be kept: the disk is full") as caught:
            host.apply(HVM.replace(memory=16, maxmem=64), persistent=True)
        assert ([step.verb for step in caught.value.done], caught.value.failed) == (["set_memory"], None)
        assert domain.config().memory == 16


@pytest.mark.parametrize("reason", ["cancelled", "timeout"])
def test_a_create_that_is_stopped_before_it_is_kept_is_undone(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    with FakeHost() as host:
        create = MemoryBackend.create

        def created(backend: MemoryBackend, *arguments: Any, **options: Any) -> Operation[Any]:
            made = create(backend, *arguments, **options)
            made.result(60)
            begun[0].stop(reason)
            return made

        monkeypatch.setattr(MemoryBackend, "create", created)
        begun: list[Operation[Any]] = []
        with host._backend.machine.lock:  # type: ignore[attr-defined]  # the create waits until it can be stopped
            begun.append(host.begin.apply(HVM, persistent=True))
        error = begun[0].exception(60)
        assert isinstance(error, OperationCancelled if reason == "cancelled" else OperationTimeout)
        assert list(host.guests) == []
        assert not host.defined()


def test_a_close_waits_for_an_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHost() as host:
        begun, go_on, define = threading.Event(), threading.Event(), MemoryBackend.define

        def slow(backend: MemoryBackend, *arguments: Any, **options: Any) -> Any:
            begun.set()
            assert go_on.wait(60)
            return define(backend, *arguments, **options)

        monkeypatch.setattr(MemoryBackend, "define", slow)
        other = connect(host.uri)
        applying = other.begin.apply(HVM, persistent=True)
        assert begun.wait(60)
        closer = threading.Thread(target=other.close, daemon=True)
        closer.start()
        until(lambda: applying.stopped == "closed", "the close has not come")
        go_on.set()
        join(closer)
        assert applying.result(0).created
        assert len(host.defined()) == 1


def test_a_swapped_vif_keeps_its_address() -> None:
    now = HVM.replace(vifs=[Vif("xenbr0", mac=MACS[0], devid=0)])
    out, back = plan_of(now, HVM.replace(vifs=[Vif("xenbr1")])).steps
    assert (out.verb, out.value.bridge, back.verb, back.value.bridge) == ("detach", "xenbr0", "attach", "xenbr1")
    assert back.value.mac == MACS[0]


def test_controllers_come_before_their_devices_and_go_after_them() -> None:
    both = HVM.replace(usbctrls=[UsbCtrl(devid=0)], usbdevs=[UsbDev(hostbus=1, hostaddr=2)])
    coming = plan_of(HVM, both).steps
    assert [(step.verb, type(step.value)) for step in coming] == [("attach", UsbCtrl), ("attach", UsbDev)]
    going = plan_of(both, HVM).steps
    assert [(step.verb, type(step.value)) for step in going] == [("detach", UsbDev), ("detach", UsbCtrl)]


def test_memory_changes_in_the_order_that_limits_allow() -> None:
    small, large = HVM, HVM.replace(memory=128)
    assert planned(small, large) == ["set_maxmem 128", "set_memory 128"]
    assert planned(large, small) == ["set_memory 64", "set_maxmem 64"]


def test_a_failure_says_what_was_done_and_survives_a_pickle() -> None:
    with FakeHost() as host:
        host.create(HVM.replace(name="web2", memory=16))
        made = host.create(HVM.replace(uuid=UUID, memory=16))
        with pytest.raises(
            ApplyFailed, match="apply web1: 0 of 2 steps were done; this one failed: rename web2"
        ) as caught:
            host.apply(HVM.replace(uuid=UUID, name="web2", memory=8, maxmem=16))
        assert made.config().memory == 16
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (made here)
    assert (again.done, again.failed, again.not_done) == (caught.value.done, caught.value.failed, caught.value.not_done)


def test_awaited() -> None:
    async def main() -> None:
        async with await aio.connect("memory:///applied") as host:
            made = await host.apply(HVM.replace(memory=16, maxmem=32))
            assert made.created
            done = await host.apply(HVM.replace(memory=24, maxmem=32))
            assert list(map(str, done.changed)) == ["set_memory 24"]
            assert (await done.domain.config()).memory == 24
            await done.domain.destroy()

    asyncio.run(main())


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_domain_that_has_ended_is_not_taken_for_one_that_runs(dry_run: bool) -> None:
    with FakeHost() as host:
        config = DomainConfig("web1", type="pvh", kernel="/k", memory=64, on_crash="preserve")
        domain = host.create(config)
        host.guest(domain).crash()
        with pytest.raises(InvalidState, match="is crashed: destroy it"):
            host.apply(config.replace(memory=32), dry_run=dry_run)
        domain.destroy()
        assert host.apply(config).created
        host.domains["web1"].suspend()
        with pytest.raises(InvalidState, match="is suspended: resume it, or destroy it"):
            host.apply(config, dry_run=dry_run)
