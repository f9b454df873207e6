"""Plans, applied to a simulated host: the domain is as asked afterwards, or a restart is needed for it."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyxen import ApplyFailed, Disk, DomainConfig, Scheduler, UsbCtrl, UsbDev, Vif, aio
from pyxen.applying import plan_of
from pyxen.testing import FakeHost

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
        assert plan.steps == ()
        assert plan.needs_restart == now.diff(wanted)


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
