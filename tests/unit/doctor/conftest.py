"""A folder that is taken for a host: what a test does not change is that of a healthy dom0 of Debian 13."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen.doctor import Report, Surroundings, examine
from tests.unit.xenstored import Xenstored

GRUB = r"""
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="DEFAULT"
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
  fi
}
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-1f' {
	load_video
	linux	/boot/vmlinuz-6.12.48-amd64 root=UUID=1f ro quiet
	initrd	/boot/initrd.img-6.12.48-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1f' {
	menuentry 'Debian GNU/Linux, with Linux 6.12.48-amd64' --class debian $menuentry_id_option 'gnulinux-6.12-1f' {
		linux	/boot/vmlinuz-6.12.48-amd64 root=UUID=1f ro quiet
	}
}
"""

GRUB_XEN = r"""
menuentry 'Debian GNU/Linux, with Xen hypervisor' --class xen $menuentry_id_option 'xen-gnulinux-simple-1f' {
	insmod part_gpt
	if [ "$grub_platform" = "pc" -o "$grub_platform" = "" ]; then
		xen_rm_opts=
	fi
	multiboot2	/boot/xen-4.20-amd64.gz placeholder  ${xen_rm_opts}
	module2	/boot/vmlinuz-6.12.48-amd64 placeholder root=UUID=1f ro quiet
}
submenu 'Advanced options for Debian GNU/Linux (with Xen hypervisor)' $menuentry_id_option 'gnulinux-advanced-1f' {
	submenu 'Xen hypervisor, version 4.20-amd64' $menuentry_id_option 'xen-hypervisor-4.20-amd64-1f' {
		menuentry 'It'\''s Xen' --class xen $menuentry_id_option 'xen-gnulinux-6.12-1f' {
			multiboot2	/boot/xen-4.20-amd64.gz placeholder  ${xen_rm_opts}
		}
	}
}
"""
"""What /etc/grub.d/20_linux_xen of Debian writes."""

HEALTHY = {
    "/sys/hypervisor/type": "xen\n",
    "/sys/hypervisor/version/major": "4\n",
    "/sys/hypervisor/version/minor": "20\n",
    "/sys/hypervisor/version/extra": ".0\n",
    "/proc/xen/capabilities": "control_d\n",
    "/proc/1/comm": "systemd\n",
    "/proc/77/comm": "oxenstored\n",
    "/proc/78/comm": "xenconsoled\n",
    **{f"/dev/xen/{name}": "" for name in ("privcmd", "evtchn", "gntdev", "gntalloc", "xenbus")},
    "/usr/lib/x86_64-linux-gnu/libxenlight.so.4.20": "",
    "/usr/lib/xen-4.20/bin/xl": "",
    "/usr/lib/xen-4.20/bin/pygrub": "",
    "/usr/lib/xen-4.20/boot/hvmloader": "",
    "/usr/libexec/xen-qemu-system-i386": "",
    "/usr/share/seabios/bios-256k.bin": "",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "",
    "/usr/lib/grub-xen/grub-i386-xen_pvh.bin": "",
    "/usr/lib/grub-xen/grub-x86_64-xen.bin": "",
    "/usr/sbin/update-grub": "#!/bin/sh\n",
    "/usr/bin/qemu-img": "#!/bin/sh\n",
    "/etc/xen/scripts/vif-bridge": "",
    "/etc/xen/xl.conf": 'autoballoon="auto"\n',
    "/sys/class/net/eth0/device/uevent": "",
    "/sys/class/net/xenbr0/bridge/bridge_id": "",
    "/sys/class/net/xenbr0/brif/eth0/port_no": "",
    "/var/lib/xen/save/.keep": "",
    "/boot/xen-4.20-amd64.gz": "",
    "/boot/grub/grub.cfg": GRUB.replace("DEFAULT", "Debian GNU/Linux, with Xen hypervisor") + GRUB_XEN,
}


class Pretended:
    """A folder that is taken for a host, with a xenstored and with Xen's answers.

    Attributes:
        root: The folder.
        xenstored: Its xenstored, which knows dom0.
        releases: The releases for which the extension is built.
        privileged: Whether the user may use Xen's devices.
        uri: The host that answers for Xen.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases: tuple[str, ...] = ("4.20",)
        self.privileged = True
        self.uri = "memory:///"
        for path, text in HEALTHY.items():
            self.write(path, text)
        folder = root / "run/xenstored"
        folder.mkdir(parents=True)
        self.xenstored = Xenstored(folder)
        self.xenstored.write("/local/domain/0/name", "Domain-0")

    def write(self, path: str, text: str) -> None:
        """Write a file of the host; programs can be run."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder of the host."""
        place = self.root / path.lstrip("/")
        place.rmdir() if place.is_dir() else place.unlink()

    def without_xen(self) -> None:
        """Make it a machine that runs without Xen."""
        for path in HEALTHY:
            if path.startswith(("/sys/hypervisor/", "/proc/xen/", "/dev/xen/", "/proc/7")):
                self.remove(path)
        self.xenstored.close()

    def surroundings(self, timeout: float = 60) -> Surroundings:
        """Return it for an examination."""
        around = Surroundings(
            self.root, connect=lambda: pyxen.connect(self.uri), releases=self.releases, timeout=timeout
        )
        if not self.privileged:
            around.may_use = lambda path: not path  # type: ignore[method-assign]  # tests run as root, who may use all
        return around

    def examine(self) -> Report:
        """Examine it."""
        return examine(self.surroundings())


@pytest.fixture
def pretended(tmp_path: Path) -> Iterator[Pretended]:
    """A healthy host, for tests to change."""
    host = Pretended(tmp_path)
    yield host
    host.xenstored.close()
