"""The Xen releases that the lab can run, and the Debian packages each is made of."""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import LabError

_BASE = (
    "base-files base-passwd dash bash coreutils util-linux bsdutils mount hostname grep sed findutils diffutils gawk tar gzip "
    "procps iproute2 iputils-ping kmod libc-bin ncurses-base busybox-static e2fsprogs fdisk"
)
_XEN = "xen-utils-common xenstore-utils linux-image-amd64 grub-xen-bin grub-xen-host"
_PYTHON = "python3 python3-cffi-backend python3-pytest python3-hypothesis python3-lxml"
_STORAGE = "lvm2 dmsetup qemu-utils"
_LIBVIRT = "libvirt-daemon libvirt-daemon-driver-xen libvirt-clients python3-libvirt"
_DEVICE_MODEL = "qemu-system-xen seabios ipxe-qemu"
_BUILD = "base-files dash coreutils gcc libc6-dev pkgconf libxen-dev libyajl-dev uuid-dev python3-dev python3-cffi python3-setuptools python3-wheel"


@dataclass(frozen=True)
class Release:
    """One Xen release, as one Debian release packages it.

    Attributes:
        xen: The Xen release, as in ``4.20``.
        suite: Debian's code name, as in ``trixie``.
        python: The release of dom0's Python, as in ``3.13``.
    """

    xen: str
    suite: str
    python: str

    @property
    def packages(self) -> list[str]:
        """The packages of dom0's file system."""
        names = f"{_BASE} {_XEN} {_PYTHON} {_STORAGE} {_LIBVIRT} {_DEVICE_MODEL}".split()
        return [*names, f"xen-hypervisor-{self.xen}-amd64", f"xen-utils-{self.xen}"]

    @property
    def build_packages(self) -> list[str]:
        """The packages of the build root, in which the extension is compiled."""
        return _BUILD.split()


RELEASES = (Release("4.20", "trixie", "3.13"), Release("4.17", "bookworm", "3.11"))
DEFAULT = RELEASES[0].xen


def find(xen: str) -> Release:
    """The release of that name.

    Raises:
        LabError: The lab does not carry this release.
    """
    for release in RELEASES:
        if release.xen == xen:
            return release
    raise LabError(f"the lab does not carry Xen {xen}; it has {', '.join(release.xen for release in RELEASES)}")
