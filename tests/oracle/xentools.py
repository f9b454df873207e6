"""xen-tools, as Debian has them: what ``xen-create-image`` writes for xl, by its own program and template."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.oracle import debian
from tests.oracle.debian import Packages, cached, host_codename

__all__ = ["configuration", "set_up", "tree"]

_PACKAGES = ("xen-tools", "libtext-template-perl")


def _recipe() -> str:
    return hashlib.sha256(" ".join([host_codename(), *_PACKAGES]).encode()).hexdigest()


def set_up() -> None:
    """Put the programs into the cache, unless they are there. Perl is the machine's own: mmdebstrap needs it, too."""

    def make(folder: Path) -> None:
        Packages(host_codename(), folder / "apt").unpack([*_PACKAGES], folder / "tree")
        shutil.rmtree(folder / "apt")

    debian.set_up("xen-tools", _recipe(), make)


def tree() -> Path:
    """Return where the package is unpacked.

    Raises:
        SetupFailed: It was not set up.
    """
    return cached("xen-tools", _recipe()) / "tree"


def configuration(folder: Path, hostname: str, disks: dict[str, str], **settings: str) -> str:
    """Return the configuration that ``xen-create-image`` writes for a guest.

    Its last step is a program of its own, ``xt-create-xen-config``, which is run here; the options of the first are
    environment variables of the second.

    Args:
        folder: Where it is written.
        hostname: The guest's name.
        disks: The path of each partition by its mount point; a swap partition has none.
        **settings: Options: ``memory="512M"``, ``pygrub="1"``.
    """
    package = tree()
    image = "file:" if "dir" in settings else "phy:"
    partitions = {
        f"PARTITION{number}": f"part{number}:1Gb:ext4:{mounted}:noatime:{image}:{path}"
        for number, (mounted, path) in enumerate(disks.items(), 1)
    }
    environment = {
        "PATH": "/usr/bin:/bin",
        "PERL5LIB": str(package / "usr/share/perl5"),
        "hostname": hostname,
        "NUMPARTITIONS": str(len(disks)),
        **partitions,
        **settings,
    }
    template = package / "etc/xen-tools/xm.tmpl"
    program = package / "usr/bin/xt-create-xen-config"
    debian.run("perl", program, f"--output={folder}", "--extension=.cfg", f"--template={template}", env=environment)
    return (folder / f"{hostname}.cfg").read_text()
