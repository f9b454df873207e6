"""Devices that come and go."""

from __future__ import annotations

import pytest

from pyxen import (
    Channel,
    DeviceExists,
    Disk,
    DomainNotFound,
    FileMissing,
    Host,
    InvalidArgument,
    NotFound,
    OperationFailed,
    UnsupportedFeature,
    ValidationError,
    Vif,
)
from pyxen.features import Feature
from tests.backends.differences import differs
from tests.backends.support import Guest, Make, supporting


def test_those_that_it_is_made_with(make: Make, image: str) -> None:
    mac = "00:16:3e:01:02:03"
    domain = make("web1", disks=[Disk(image, vdev="xvda", readonly=True)], vifs=[Vif(bridge="xenbr0", mac=mac)])
    found = domain.config()
    assert [(disk.target, disk.vdev, disk.readonly) for disk in found.disks] == [(image, "xvda", True)]
    assert [(vif.mac, vif.bridge) for vif in found.vifs] == [(mac, "xenbr0")]


def test_a_vif_gets_an_address(make: Make) -> None:
    (vif,) = make("web1", vifs=[Vif(bridge="xenbr0")]).config().vifs
    assert vif.mac is not None
    assert not vif.mac.is_multicast


def test_a_disk_comes_and_goes(host: Host, make: Make, image: str) -> None:
    domain = make()
    with supporting(host, Feature.ATTACH):
        for again in (False, True):  # the second time it comes as new
            disk = domain.attach(Disk(image, vdev="xvdb", readonly=True))
            assert (disk.target, disk.vdev, disk.readonly) == (image, "xvdb", True)
            assert [(disk.target, disk.vdev) for disk in domain.config().disks] == [(image, "xvdb")]
            if not again:
                domain.detach("d1p0", force=True)  # which is the same
                assert domain.config().disks == ()


def test_vifs_come_and_go(host: Host, make: Make) -> None:
    domain = make()
    with supporting(host, Feature.ATTACH):
        first = domain.attach(Vif(bridge="xenbr0"))
        second = domain.attach(Vif(bridge="xenbr0", mac="00:16:3e:01:02:03"))
        assert first.mac is not None
        assert second.mac == "00:16:3e:01:02:03"
        domain.detach("00:16:3E:01:02:03", force=True)
        assert [vif.mac for vif in domain.config().vifs] == [first.mac]


def test_a_guest_that_lets_go(host: Host, linux: Guest, image: str) -> None:
    domain = linux()
    with supporting(host, Feature.ATTACH):
        disk, vif = domain.attach(Disk(image, vdev="xvdb")), domain.attach(Vif(bridge="xenbr0"))
        domain.detach(vif)
        domain.detach(disk, timeout=60)
        assert domain.config().disks == domain.config().vifs == ()


def test_names_that_are_taken(host: Host, make: Make, image: str) -> None:
    domain = make("web1", disks=[Disk(image, vdev="xvdb")])
    with supporting(host, Feature.ATTACH):
        with pytest.raises(DeviceExists, match="xvdb"):
            domain.attach(Disk(image, vdev="xvdb"))
        assert len(domain.config().disks) == 1


def test_what_is_not_there(host: Host, make: Make, image: str) -> None:
    domain = make("web1", disks=[Disk(image, vdev="xvdb")])
    with supporting(host, Feature.ATTACH):
        with pytest.raises(NotFound, match="no disk xvda; it has xvdb"):
            domain.detach("xvda")
        with pytest.raises(NotFound, match="no vif 00:16:3e:01:02:03; it has none"):
            domain.detach("00:16:3e:01:02:03")
        with pytest.raises(InvalidArgument, match=r"this does not identify one vif: set its mac or devid"):
            domain.detach(Vif(bridge="xenbr0"))
        with pytest.raises(InvalidArgument, match="'eth0' does not name a device"):
            domain.detach("eth0")
        domain.destroy()
        with pytest.raises(DomainNotFound):
            domain.attach(Disk(image, vdev="xvdc"))


def test_what_cannot_be_attached(host: Host, make: Make, image: str) -> None:
    domain = make("web1")
    with pytest.raises(InvalidArgument, match=r"not the string 'phy:/x,xvdb,w': Disk\.from_xl"):
        domain.attach("phy:/x,xvdb,w")
    with supporting(host, Feature.ATTACH):
        with pytest.raises(ValidationError, match="vdev"):
            domain.attach(Disk(image))
        with pytest.raises(UnsupportedFeature, match="Channel"):
            domain.attach(Channel("org.example", connection="pty"))
        if not differs(host, "files"):
            with pytest.raises(FileMissing, match="/no/such/disk") as caught:
                domain.attach(Disk("/no/such/disk", vdev="xvdb"))
            assert caught.value.filename == "/no/such/disk"
            assert (caught.value.operation, caught.value.domid) == ("attach", domain.domid)
            with pytest.raises(NotFound, match="no bridge nosuchbr0"):
                domain.attach(Vif(bridge="nosuchbr0"))
        assert domain.config().disks == domain.config().vifs == ()


def test_a_disk_that_needs_qemu_in_a_guest_without_it(host: Host, make: Make, image: str) -> None:
    domain = make("web1")
    error = UnsupportedFeature if host.uri.startswith(("xenlight", "memory:")) else OperationFailed  # libvirt's words
    with supporting(host, Feature.ATTACH):
        for kind in ("qcow2", "qcow", "qed", "vhd"):
            with pytest.raises(error) as caught:
                domain.attach(Disk(image, vdev="xvdb", format=kind))
            assert error is OperationFailed or "create the domain again with the device" in str(caught.value)
            assert error is OperationFailed or "or attach a raw image or a block device" in str(caught.value)
        assert domain.config().disks == ()
        if host.supports(Feature.LIVE_DEVICES):
            assert len(domain.disks) == 0


def test_discs_are_for_hvm_guests(make: Make, image: str) -> None:
    domain = make("web1")
    with pytest.raises(UnsupportedFeature):
        domain.insert_cdrom("hdc", image)
    with pytest.raises(UnsupportedFeature):
        domain.eject_cdrom("hdc")
