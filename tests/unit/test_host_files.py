"""The files of the host that a configuration names."""

from __future__ import annotations

import pytest

import pyxen
from pyxen import Disk, DomainConfig, FileMissing, Stubdomain
from pyxen._common.host_files import files_of, files_of_config

BOXED = DomainConfig(
    "boxed",
    type="hvm",
    memory=64,
    disks=[Disk("/dev/vg0/web1", vdev="xvda"), Disk("web2", vdev="xvdb", script="block-rbd")],
    stubdomain=Stubdomain(enable=True, kernel="/no/such/stub-kernel", ramdisk="/no/such/stub-rootfs"),
)


def test_those_of_a_stub_domain_count_if_it_has_one() -> None:
    assert files_of_config(BOXED) == ["/no/such/stub-kernel", "/no/such/stub-rootfs", "/dev/vg0/web1"]
    bare = BOXED.replace(stubdomain=BOXED.stubdomain.replace(enable=False))
    assert files_of_config(bare) == ["/dev/vg0/web1"]


def test_a_stub_domain_whose_kernel_is_missing() -> None:
    with pyxen.connect("memory:///?files=here") as host, pytest.raises(FileMissing, match="/no/such/stub-kernel"):
        host.create(BOXED.replace(disks=[]))


@pytest.mark.parametrize("backend", [None, "0", "Domain-0"])
def test_files_of_dom0(backend: str | None) -> None:
    assert files_of(Disk("/srv/a.img", vdev="xvda", backend=backend)) == ["/srv/a.img"]


@pytest.mark.parametrize("disk", [Disk("/srv/a.img", vdev="xvda", backend="7"), Disk("/srv/a.img", backend_domid=7)])
def test_files_of_a_driver_domain(disk: Disk) -> None:
    assert files_of(disk) == []
