"""Differences between configurations: what counts, what it is called, and that nothing secret is shown."""

from __future__ import annotations

import pickle
import sys
from types import FrameType

import pytest
from hypothesis import given, settings

from pyxen.config import Disk, DomainConfig, Pci, Scheduler, SettingChange, Vfb, Vif, Vnc
from pyxen.testing.strategies import domain_configs

A = DomainConfig("a", memory=64)

SECRETS = ("first", "second", "third", "fourth")


@settings(max_examples=40)
@given(domain_configs())
def test_nothing_differs_from_itself(config: DomainConfig) -> None:
    for same in (config, config.canonical()):
        assert not config.diff(same), str(config.diff(same))
        assert not same.diff(config), str(same.diff(config))


@settings(max_examples=20)
@given(domain_configs(), domain_configs())
def test_any_two_can_be_compared(one: DomainConfig, other: DomainConfig) -> None:
    found = one.diff(other)
    assert bool(found) == (str(found) != "no difference")
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 (made here)


@pytest.mark.parametrize(
    ("change", "path", "before", "after"),
    [
        (A.replace(vcpus=2, maxvcpus=4), "vcpus", 1, 2),
        (A.replace(cmdline="quiet"), "cmdline", None, "quiet"),
        (A.replace(name="b"), "name", "a", "b"),
        (A.replace(scheduler=Scheduler(weight=512)), "scheduler.weight", None, 512),
        (A.replace(memory=32, maxmem=64), "memory", 64, 32),
        (A.replace(maxmem=128), "maxmem", 64, 128),
    ],
)
def test_settings_have_their_paths(change: DomainConfig, path: str, before: object, after: object) -> None:
    found = A.diff(change)
    assert SettingChange(path, before, after) in found.settings
    assert (found.added, found.removed, found.changed) == ((), (), ())


@pytest.mark.parametrize(
    "chosen",
    [
        A.replace(uuid="11111111-2222-3333-4444-555555555555"),
        A.replace(scheduler=Scheduler(weight=256, cap=0)),
        A.replace(scheduler=Scheduler(weight=512)),
        A.replace(boot="cda", hap=True, max_event_channels=1023),
        A.replace(maxmem=64, maxvcpus=1),
    ],
)
def test_what_is_left_to_libxl_does_not_count(chosen: DomainConfig) -> None:
    assert not chosen.diff(A)


def test_what_libxl_chose_for_devices_does_not_count() -> None:
    running = A.replace(
        vifs=[Vif("xenbr0", mac="00:16:3e:00:00:01", devid=0, mtu=1500)],
        disks=[Disk("/a", vdev="xvda", backendtype="phy", discard=True)],
    )
    assert not running.diff(A.replace(vifs=[Vif()], disks=[Disk("/a", vdev="d0p0")]))


def test_a_silence_that_means_something_counts() -> None:
    running = A.replace(cmdline="quiet", vifs=[Vif(rate="1MB/s")])
    assert str(running.diff(A.replace(vifs=[Vif()]))).splitlines() == [
        "cmdline: quiet -> not set",
        "vifs[0].rate: 1MB/s -> not set",
    ]


def test_devices_are_matched_by_what_identifies_them() -> None:
    old = A.replace(
        disks=[Disk("/a", vdev="xvda"), Disk("/b", vdev="xvdb")],
        vifs=[Vif("br0", mac="00:16:3e:00:00:01"), Vif("br0", mac="00:16:3e:00:00:02")],
        pcis=[Pci("03:00.0")],
    )
    new = A.replace(
        disks=[Disk("/b", vdev="xvdb"), Disk("/c", vdev="xvda")],
        vifs=[Vif("br1", mac="00:16:3e:00:00:02")],
        pcis=[Pci("03:00.0"), Pci("04:00.0")],
    )
    found = old.diff(new)
    assert found.removed == (Vif("br0", mac="00:16:3e:00:00:01"),)
    assert found.added == (Pci("04:00.0"),)
    assert [setting.path for change in found.changed for setting in change.settings] == [
        "disks[1].target",
        "vifs[0].bridge",
    ]
    assert not found.settings


def test_another_mac_is_another_vif() -> None:
    one, other = Vif(mac="00:16:3e:00:00:01"), Vif(mac="00:16:3e:00:00:02")
    found = A.replace(vifs=[one]).diff(A.replace(vifs=[other]))
    assert (found.removed, found.added, found.changed) == ((one,), (other,), ())


def test_passwords_are_masked() -> None:
    old = A.replace(type="hvm", vnc=Vnc(passwd=SECRETS[0]), vfbs=[Vfb(vnc=Vnc(passwd=SECRETS[1]))])
    new = A.replace(type="hvm", vnc=Vnc(passwd=SECRETS[2]), vfbs=[Vfb(vnc=Vnc(passwd=SECRETS[3]))])
    found = old.diff(new)
    assert {"vnc.passwd", "vfbs[0].vnc.passwd"} <= {
        setting.path for setting in (*found.settings, *(one for change in found.changed for one in change.settings))
    }
    for text in (str(found), repr(found), str(old.diff(A)), repr(A.diff(new))):
        for secret in SECRETS:
            assert secret not in text


@pytest.mark.parametrize("kind", ["disks", "vifs"])
def test_many_devices_in_another_order_are_matched_by_their_names(kind: str) -> None:
    """Four times the devices take four times the calls: no device is compared with all others."""

    def calls(count: int) -> int:
        made: dict[str, tuple[Disk | Vif, ...]] = {
            "disks": tuple(Disk(f"/{number}", vdev=f"d{number}p0") for number in range(count)),
            "vifs": tuple(Vif(mac=f"00:16:3e:00:{number >> 8:02x}:{number & 255:02x}") for number in range(count)),
        }
        old, new = A.replace(**{kind: made[kind]}), A.replace(**{kind: made[kind][::-1]})
        assert not old.diff(new)  # and all that is made at first has been made
        counted = 0

        def count_one(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal counted
            counted += event == "call"

        before = sys.getprofile()
        sys.setprofile(count_one)
        try:
            old.diff(new)
        finally:
            sys.setprofile(before)
        return counted

    assert calls(200) < 6 * calls(50)
