"""The loader of the compiled module that fits the running Xen, with checks that say what is missing.

Xen's sonames contain its release (``libxenlight.so.4.20``), and so do the modules' names. Several can be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from importlib.machinery import all_suffixes
from types import ModuleType

import pyxen.backends.xenlight.libxl
from pyxen._common.shortage import REMEDY, is_shortage, shortage
from pyxen.errors import BindingNotBuilt, ConnectFailed, LibraryMissing, NotOnXen, NotPrivileged

__all__ = ["built_releases", "check_host", "load", "running_release", "running_version", "worker_program"]

SYSFS = "/sys/hypervisor"
PRIVCMD = "/dev/xen/privcmd"
CAPABILITIES = "/proc/xen/capabilities"

_Path = str | os.PathLike[str]

_MODULE = re.compile(rf"_xenlight_(\d+)_(\d+)({'|'.join(map(re.escape, all_suffixes()))})$")


def running_version(sysfs: _Path = SYSFS) -> str:
    """Return the version of the running Xen, e.g. ``4.20.0``; empty if the kernel does not say, e.g. without Xen.

    Raises:
        ConnectFailed: This process may have no more descriptors.
    """
    try:
        if _read(sysfs, "type") != "xen":
            return ""
        major, minor, extra = (_read(sysfs, "version", part) for part in ("major", "minor", "extra"))
    except OSError as error:
        if is_shortage(error):
            raise ConnectFailed(f"cannot read which Xen runs: {error}: {REMEDY}") from error
        return ""
    return f"{major}.{minor}{extra}"


def _read(*path: _Path) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read().strip()


def running_release(sysfs: _Path = SYSFS) -> str | None:
    """Return the release of the running Xen, e.g. ``4.20``; None if the kernel does not say, e.g. without Xen."""
    match = re.match(r"\d+\.\d+", running_version(sysfs))
    return match[0] if match else None


def built_releases() -> list[str]:
    """Return the Xen releases that the extension was compiled for, oldest first."""
    files: list[str] = []
    for folder in pyxen.backends.xenlight.libxl.__path__:
        with contextlib.suppress(NotADirectoryError, FileNotFoundError):  # in a zip file, which holds none
            files += os.listdir(folder)
    found = {(int(match[1]), int(match[2])) for match in map(_MODULE.match, files) if match}
    return [f"{major}.{minor}" for major, minor in sorted(found)]


def check_host(
    sysfs: _Path = SYSFS,
    privcmd: _Path = PRIVCMD,
    capabilities: _Path = CAPABILITIES,
    *,
    control: bool = True,
) -> None:
    """Check that this machine is a control domain of Xen and that this process may control it.

    Args:
        sysfs: The kernel's folder about the hypervisor.
        privcmd: The device for hypercalls.
        capabilities: The kernel's file that says whether this is a control domain.
        control: False to accept any domain.

    Raises:
        NotOnXen: The machine does not run on Xen, or is a domain that does not control it.
        NotPrivileged: This user may not open Xen's devices.
    """
    if not os.path.isdir(sysfs) and not os.path.exists(privcmd):
        raise NotOnXen(
            "this machine does not run on Xen (no /sys/hypervisor, no /dev/xen/privcmd): boot Xen, use libvirt "
            "(xen+ssh://HOST/) or try memory:///"
        )
    if not os.path.exists(privcmd):
        raise NotOnXen("this domain has no /dev/xen/privcmd: load the kernel module xen-privcmd, or run this in dom0")
    if not os.access(privcmd, os.R_OK | os.W_OK):
        raise NotPrivileged("no permission for /dev/xen/privcmd: run this as root")
    if not control:
        return
    try:
        rights = _read(capabilities)
    except OSError:
        return  # xenfs may be unmounted; libxl will say what is missing
    if "control_d" not in rights:
        raise NotOnXen("this is a guest of Xen, not its control domain: run this in dom0")


def load(release: str | None = None) -> ModuleType:
    """Load the compiled module for a Xen release: by default that of the running Xen or, without Xen, the newest one.

    Raises:
        BindingNotBuilt: There is no module for that release.
        LibraryMissing: There is a module, but Xen's libraries are not installed.
    """
    with shortage(ConnectFailed, "cannot look for the extension"):
        built = built_releases()
    wanted = release or running_release() or (built[-1] if built else None)
    if wanted is None or wanted not in built:
        have = f"there is one for Xen {', '.join(built)}" if built else "there is none at all"
        raise BindingNotBuilt(
            f"no extension of pyxen for Xen {wanted or '(any release)'}: {have}. Install that release's headers "
            "(Debian: libxen-dev) and build again, past the wheels of the index and of pip's cache, which lack it: "
            "PYXEN_XENLIGHT=require pip install --force-reinstall --no-deps --no-cache-dir --no-binary pyxen pyxen"
        )
    name = f"pyxen.backends.xenlight.libxl._xenlight_{wanted.replace('.', '_')}"
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LibraryMissing(
            f"the extension for Xen {wanted} is there, but does not load: {error}. Install the libraries of that "
            f"release (Debian: libxenmisc{wanted})"
        ) from error


def worker_program(module: ModuleType) -> str:
    """Return the path of the program that workers run, which was compiled with a module."""
    release = module.__name__.rpartition("_xenlight_")[2].replace("_", ".")
    return os.path.join(os.path.dirname(module.__file__ or ""), f"pyxen-worker-{release}")
