"""The Xen releases that the lab can run, and the Debian packages each is made of."""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import LabError

_DOM0 = (
    # a system that can run shell scripts
    *("base-files", "base-passwd", "dash", "bash", "coreutils", "util-linux", "bsdutils", "mount", "hostname", "grep"),
    *("sed", "findutils", "diffutils", "gawk", "tar", "gzip", "procps", "kmod", "libc-bin", "ncurses-base"),
    *("iproute2", "iputils-ping", "busybox-static"),
    # Xen, its device model for HVM guests, what boots guests from their own disks
    *("linux-image-amd64", "xen-utils-common", "xenstore-utils", "qemu-system-xen", "seabios", "ipxe-qemu"),
    *("grub-xen-bin", "grub-xen-host"),
    # the ISO that boots to a menu is made with these
    *("grub-pc-bin", "xorriso"),
    # guests' disks
    *("lvm2", "dmsetup", "qemu-utils", "e2fsprogs", "fdisk"),
    # pyxen and its tests
    *("python3", "python3-cffi-backend", "python3-lxml", "python3-typer", "python3-rich"),
    *("python3-prometheus-client",),
    *("python3-pytest", "python3-pytest-timeout", "python3-hypothesis"),
    # the same host through libvirt
    *("libvirt-daemon", "libvirt-daemon-driver-xen", "libvirt-clients", "python3-libvirt"),
    # another host, as one comes to it and goes from it
    *("openssh-server", "openssh-client"),
)
_BUILD = (
    *("base-files", "dash", "coreutils", "gcc", "libc6-dev", "pkgconf", "libxen-dev", "libyajl-dev", "uuid-dev"),
    *("python3-dev", "python3-cffi", "python3-setuptools", "python3-wheel"),
)


@dataclass(frozen=True)
class Release:
    """One Xen release, as one Debian release packages it.

    Attributes:
        xen: The Xen release, as in ``4.20``.
        suite: Debian's code name, as in ``trixie``.
        python: The release of dom0's Python, as in ``3.13``.
        also: Packages that only this Debian release has.
    """

    xen: str
    suite: str
    python: str
    also: tuple[str, ...] = ()

    @property
    def packages(self) -> list[str]:
        """The packages of dom0's file system."""
        return [*_DOM0, *self.also, f"xen-hypervisor-{self.xen}-amd64", f"xen-utils-{self.xen}"]

    @property
    def build_packages(self) -> list[str]:
        """The packages of the build root, in which the extension is compiled."""
        return [*_BUILD]


RELEASES = (
    Release("4.20", "trixie", "3.13", ("libvirt-daemon-driver-nodedev", "python3-msgspec")),
    Release("4.17", "bookworm", "3.11"),
)
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
