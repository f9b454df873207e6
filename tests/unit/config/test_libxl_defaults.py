"""What libxl fills in is told apart from what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pyxen import DomainConfig, libvirtxml, xlcfg
from pyxen.config import P9, Channel, Disk, DiskColo, Rdm, Scheduler, Sdl, Spice, Viridian, Vkb, Vnc
from pyxen.config.libxl_defaults import without_defaults
from pyxen.testing.strategies import domain_configs

ASKED = {
    "hvm": DomainConfig("a", type="hvm", memory=32, disks=[Disk("/a", vdev="hda")]),
    "pv": DomainConfig("a", type="pv", kernel="/k", memory=8),
    "pvh": DomainConfig("a", type="pvh", kernel="/k", memory=8),
}
ALL: dict[str, Any] = {
    "driver_domain": False, "ssidref": 12, "iommu_memory": 0, "numa_placement": True,
    "scheduler": Scheduler(weight=256, cap=0, kind="credit2"), "msr_relaxed": False, "vpmu": False, "acpi": True,
    "localtime": False, "max_event_channels": 1023, "max_grant_version": 2, "claim_mode": False,
    "run_hotplug_scripts": True, "blkdev_start": "xvda", "nomigrate": False, "xend_suspend_evtchn_compat": False,
    "passthrough": "disabled",
}  # fmt: skip
FILLED: dict[str, dict[str, Any]] = {
    "hvm": {
        "boot": "cda", "bios": "seabios", "videoram": 8, "shadow_memory": 1.125, "rdm_mem_boundary": 2048,
        "timer_mode": "no_delay_for_missed_ticks", "nestedhvm": False, "hap": True, "oos": True, "altp2mhvm": False,
        "viridian": Viridian(defaults=False), "acpi_s3": True, "acpi_s4": True, "acpi_laptop_slate": False,
        "apic": True, "pae": True, "nx": True, "hpet": True, "vpt_align": True, "xen_platform_pci": True,
        "hvm_pirq": False, "vga": "cirrus", "nographic": False, "sdl": Sdl(enable=False), "spice": Spice(enable=False),
        "vnc": Vnc(enable=True, listen="127.0.0.1", unused=True), "gfx_passthru": False, "usb": False,
        "vkb_device": True, "rdm": Rdm(policy="relaxed"),
        "disks": [Disk("/a", vdev="hda", colo=DiskColo(restore_enable=False))],
    },
    "pv": {"videoram": 0, "slack_memory": 0, "bootloader_restrict": False, "e820_host": False},
    "pvh": {
        "videoram": 0, "shadow_memory": 1.03125, "timer_mode": "no_delay_for_missed_ticks", "nestedhvm": False,
        "hap": True, "oos": True, "bootloader_restrict": False,
    },
}  # fmt: skip
"""What a running domain of Xen 4.20 says beside what was asked for."""


@pytest.mark.parametrize("guest", ASKED)
def test_what_a_running_domain_says_is_what_was_asked(guest: str) -> None:
    running = ASKED[guest].replace(**ALL, **FILLED[guest])
    assert without_defaults(running) == ASKED[guest]
    assert libvirtxml.losses(running) == ()
    assert libvirtxml.loads(libvirtxml.dumps(running)).name == "a"


@pytest.mark.parametrize(
    "said",
    [
        {"hvm_pirq": True}, {"usb": True}, {"acpi_s3": False}, {"timer_mode": "no_missed_ticks_pending"},
        {"nomigrate": True}, {"scheduler": Scheduler(cap=50)}, {"shadow_memory": 9}, {"xen_platform_pci": False},
        {"ssidref": 13}, {"driver_domain": True}, {"oos": False},
    ],
)  # fmt: skip
def test_another_value_than_the_default_stays_and_is_lost_in_xml(said: dict[str, Any]) -> None:
    config = ASKED["hvm"].replace(**said)
    assert without_defaults(config) == config
    assert [loss.path.partition(".")[0] for loss in libvirtxml.losses(config)] == list(said)


@given(domain_configs())
def test_it_is_said_once(config: DomainConfig) -> None:
    plain = without_defaults(config)
    assert without_defaults(plain) == plain


def test_the_numbers_that_libxl_gives_devices() -> None:
    config = ASKED["hvm"].replace(
        channels=[Channel("a", connection="pty"), Channel("b", connection="pty")],
        p9s=[P9(tag="t", path="/p", security_model="none")],
        vkbs=[Vkb(backend_type="qemu")],
    )
    running = config.replace(
        channels=[channel.replace(devid=place + 1) for place, channel in enumerate(config.channels)],
        p9s=[config.p9s[0].replace(devid=0)],
        vkbs=[config.vkbs[0].replace(devid=0)],
    )
    assert without_defaults(running) == config
    assert xlcfg.losses(running) == ()
    other = config.replace(p9s=[config.p9s[0].replace(devid=5)], channels=[config.channels[0].replace(devid=7)])
    assert without_defaults(other) == other
    assert [loss.path for loss in xlcfg.losses(other)] == ["channels[0].devid", "p9s[0].devid"]
