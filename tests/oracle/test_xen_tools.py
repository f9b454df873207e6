"""What xen-tools write is read as xl reads it, and lint has the modern form. tests/outside starts a guest of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyxen import Disk, xlcfg
from tests.oracle import xentools
from tests.oracle.compare import Xl, difference

LVM = {"": "/dev/vg0/web1-swap", "/": "/dev/vg0/web1-disk"}
FILES = {"": "/srv/xen/domains/web1/swap.img", "/": "/srv/xen/domains/web1/disk.img"}
PLAIN = {"memory": "512M", "vcpus": "2"}


@pytest.mark.parametrize(
    ("disks", "settings"),
    [
        (LVM, {"lvm": "vg0", "dhcp": "1", "pygrub": "1", "bridge": "xenbr0", "mac": "00:16:3e:00:00:01"}),
        (LVM, {"lvm": "vg0", "ip1": "192.0.2.7", "gateway": "192.0.2.1", "kernel": "/boot/vmlinuz"}),
        (FILES, {"dir": "/srv/xen", "pygrub": "1", "maxmem": "1Gb", "vifname": "web1"}),
    ],
)
def test_as_xl_reads_it(xl: Xl, tmp_path: Path, disks: dict[str, str], settings: dict[str, str]) -> None:
    text = xentools.configuration(tmp_path, "web1", disks, **PLAIN, **settings)
    assert difference(xl, text) is None
    config = xlcfg.loads(text, on_loss="ignore")
    assert (config.name, str(config.type), config.memory, config.vcpus) == ("web1", "pv", 512, 2)
    assert config.disks == (Disk(disks["/"], vdev="xvda2"), Disk(disks[""], vdev="xvda1"))
    codes = {finding.code for finding in xlcfg.lint(text)}
    assert {"outdated-disk", "outdated-key"} <= codes
    assert {finding.code for finding in xlcfg.lint(xlcfg.dumps(config))} == set()
