"""Devices as the XML of libvirt's driver for Xen has them."""

from __future__ import annotations

import pytest

from pyxen import Disk, UnsupportedFeature
from pyxen.backends.libvirt.live_devices import live_devices, live_devices_of
from pyxen.config.device_table import CONSOLES, KINDS

XML = """<domain type='xen' id='3'><name>web1</name><memory unit='KiB'>65536</memory>
<vcpu>1</vcpu><os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/k</kernel></os><devices>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/b.img'/>
    <target dev='xvdb' bus='xen'/><alias name='xen-disk1'/></disk>
  <disk type='block' device='disk'><driver name='phy' type='raw'/><source dev='/dev/vg/a'/>
    <target dev='xvda' bus='xen'/></disk>
  <interface type='bridge'><mac address='00:16:3e:01:02:03'/><source bridge='xenbr0'/>
    <target dev='vif3.0'/><alias name='net0'/></interface>
  <hostdev mode='subsystem' type='pci' managed='no'>
    <source><address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source><alias name='hostdev0'/></hostdev>
  <hostdev mode='subsystem' type='usb' managed='no'><source><address bus='1' device='4'/></source></hostdev>
  <controller type='usb' index='0' model='qusb2' ports='4'/>
  <channel type='pty'><source path='/dev/pts/6'/><target type='xen' name='org.other'/></channel>
  <graphics type='vnc' port='5901' autoport='yes' listen='127.0.0.1'/>
</devices></domain>"""

BY_FIELD = {kind.field: kind for kind in (*KINDS, CONSOLES)}


def test_disks() -> None:
    second, first = live_devices_of(XML, BY_FIELD["disks"])  # as libvirt orders them, by their names
    assert (first.config.vdev, first.config.target, first.devid, first.alias) == (
        "xvdb",
        "/srv/b.img",
        51728,
        "xen-disk1",
    )
    assert (second.config.vdev, second.devid, second.alias) == ("xvda", 51712, None)
    assert isinstance(first.config, Disk)
    assert (first.backend_state, first.frontend_state, first.frontend_path, first.error) == (None, None, None, None)


def test_vifs() -> None:
    [vif] = live_devices_of(XML, BY_FIELD["vifs"])
    assert (vif.config.mac, vif.devid, vif.config.devid) == ("00:16:3e:01:02:03", 0, 0)
    assert (vif.interface, vif.bridge, vif.alias) == ("vif3.0", "xenbr0", "net0")


def test_devices_of_the_host() -> None:
    [pci], [usb] = (live_devices_of(XML, BY_FIELD[field]) for field in ("pcis", "usbdevs"))
    assert (str(pci.config.address), pci.alias, pci.devid) == ("0000:03:00.1", "hostdev0", None)
    assert (usb.config.hostbus, usb.config.hostaddr, usb.devid) == (1, 4, None)


def test_those_with_a_number() -> None:
    [controller], [channel], [screen] = (
        live_devices_of(XML, BY_FIELD[field]) for field in ("usbctrls", "channels", "vfbs")
    )
    assert (controller.devid, controller.config.ports) == (0, 4)
    assert (channel.devid, channel.config.name) == (1, "org.other")
    assert (screen.devid, screen.config.devid) == (0, 0)


@pytest.mark.parametrize("field", ["consoles", "vtpms", "p9s", "vkbs", "vsnds", "vdispls", "pvcalls", "virtios"])
def test_kinds_that_libvirt_does_not_know(field: str) -> None:
    with pytest.raises(UnsupportedFeature, match=rf"the {field} of a domain: xenlight:/// on the host") as caught:
        live_devices(None, BY_FIELD[field], "libvirt (Xen)")  # type: ignore[arg-type]  # it is not asked
    assert (caught.value.feature, caught.value.backend) == (field, "libvirt (Xen)")
