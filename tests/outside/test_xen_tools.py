"""A guest of xen-tools: Debian's own programs make its disks and its configuration in dom0, and pyxen starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Lab
from tests.oracle import xentools
from tests.outside.packages import UNPACK_SECONDS, put_packages

MAKE_SECONDS = 900.0
GUEST_SECONDS = 600.0
NEEDS = (
    *("perl", "debootstrap", "libconfig-inifiles-perl", "libdata-validate-domain-perl", "libdata-validate-ip-perl"),
    *("libdata-validate-uri-perl", "libfile-slurp-perl", "libfile-which-perl", "libsort-versions-perl"),
    *("libterm-ui-perl", "libtext-template-perl"),
)
"""What the programs use; the package itself is not in every release of Debian, and needs none in particular."""

SYSTEM = """
mkdir -p system/boot/grub system/etc/ssh system/bin system/proc
cp /usr/share/pyxen-guests/vmlinuz /usr/share/pyxen-guests/initramfs system/boot/
cat > system/boot/grub/grub.cfg <<END
menuentry "Linux" {
    linux /boot/vmlinuz console=hvc0
    initrd /boot/initramfs
}
END
cp /bin/busybox system/bin/ls
cp /bin/busybox system/bin/cp
tar -cf system.tar -C system .
cat > role <<'END'
#!/bin/sh
mount -o bind /proc "$1/proc"
END
chmod +x role
"""
"""A small Linux to install, with what xen-create-image looks for: two programs, and where the keys of ssh are.

In the end it unmounts the guest's /proc, which is mounted by its hooks only. They need a whole system, so that they are
left out, and the role, a script for one guest, mounts it.
"""

CREATE = [
    "xen-create-image",
    *("--hostname=web3", "--memory=192M", "--vcpus=1", "--lvm=vg0", "--size=200M", "--swap=64M", "--fs=ext4"),
    *("--dhcp", "--pygrub", "--bridge=xenbr0", "--dist=trixie", "--install-method=tar"),
    *("--install-source=/srv/system.tar", "--hooks=0", "--role=/srv/role"),
    *("--nopasswd", "--genpass=0", "--output=/srv", "--extension=.cfg", "--verbose"),
]

CONSOLE = f"""
import pyxen
with pyxen.connect() as xen:
    web3 = xen.domains["web3"]
    with web3.console_stream(timeout={GUEST_SECONDS}) as console:
        next(line for line in console if "pyxen-guest ready" in line)
        console.write("echo type=$(cat /sys/hypervisor/guest_type) $(ls /sys/class/block /sys/class/net)\\r")
        print(next(line for line in console if line.startswith("type=")))
    web3.shutdown(timeout={GUEST_SECONDS})
"""


def wanted(tree: Path) -> list[str | Path]:
    """Return the packages' files, and xen-tools' own."""
    return ["-C", tree, ".", "-C", xentools.tree(), "./etc", "./usr"]


@pytest.mark.long
@pytest.mark.timeout(UNPACK_SECONDS + 2 * MAKE_SECONDS + 3 * GUEST_SECONDS)
def test_a_guest_of_xen_create_image() -> None:
    with Lab() as dom0:
        xentools.set_up()
        put_packages(dom0, "xen-tools-dom0", NEEDS, wanted)
        dom0.run(["sh", "-ec", SYSTEM], cwd="/srv", check=True, timeout=MAKE_SECONDS)
        dom0.run(["vgcreate", "-q", "vg0", "/dev/vdc"], check=True, timeout=60)
        made = dom0.run(CREATE, timeout=MAKE_SECONDS)
        assert made.status == 0, made.stdout + made.stderr

        linted = dom0.run(["pyxen", "lint", "/srv/web3.cfg"], timeout=GUEST_SECONDS)
        assert linted.status == 1, linted.stdout + linted.stderr
        assert "outdated-disk" in linted.stdout
        begun = dom0.run(["pyxen", "create", "/srv/web3.cfg"], timeout=GUEST_SECONDS)
        assert begun.status == 0, begun.stdout + begun.stderr
        assert "xl does not know this key" in begun.stderr  # it is xen-tools' own: dhcp = 'dhcp'
        said = dom0.run(["python3", "-c", CONSOLE], check=True, timeout=3 * GUEST_SECONDS).stdout.split()
    assert said[0] == "type=PV"
    assert {"xvda1", "xvda2", "eth0"} <= {*said}
