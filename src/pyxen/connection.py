"""`connect`, which opens a host by its URI."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

from pyxen._common.arguments import check_number
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import shown
from pyxen._interpreter import check_interpreter
from pyxen._printable import quoted
from pyxen.backends.base import Backend
from pyxen.errors import ConnectFailed, InvalidArgument, LibraryMissing, UnsupportedFeature
from pyxen.features import Feature
from pyxen.host import Host

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pyxen.xlconf import XlConf

__all__ = ["MOST_WORKERS", "AnyXlConf", "connect", "open_backend", "with_settings"]

AnyXlConf: TypeAlias = "XlConf | str | os.PathLike[str] | None"
"""Settings of xl, the path of their file, or none."""

MOST_WORKERS: Final = 64
"""The most worker processes that `connect` starts for a host."""

GROUP: Final = "pyxen.backends"
"""The entry point group in which other packages register backends: ``scheme = "package.module:function"``.

The function takes the URI and returns a `Backend`.
"""

LIBVIRT: Final = frozenset(
    {"xen", "test", "qemu", "lxc", "ch", "bhyve", "vz", "virtuozzo", "parallels", "vbox", "openvz", "hyperv"}
    | {"esx", "gsx", "vpx", "vmwareplayer", "vmwarews", "vmwarefusion"}
)
"""The schemes that libvirt knows, without the transport (``+ssh``) that may follow."""


def connect(uri: str = "xenlight:///", *, workers: int | None = None, xl_conf: AnyXlConf = None) -> Host:
    """Open a host.

    Args:
        uri: ``xenlight:///``, the default, is the local machine, through libxl. ``xenlight+ssh://root@host/`` is
            another machine, through ssh and the pyxen there; ``?command=/opt/pyxen/bin/pyxen`` says where that is.
            ``xenlight+unix:///run/pyxen/serve.sock`` is this machine, through ``pyxen serve --socket``, without root.
            ``memory:///`` is a host in this process, for tests. ``xenlight:///driver`` is the driver domain that this
            runs in: it need not be a control domain, and it supports `Host.devd` and `Host.xenstore` only. libvirt's
            URIs open a host through libvirt: ``xen:///system``, ``xen+ssh://root@host/system``, ``test:///default``.
            Other packages may add schemes with the entry point group ``pyxen.backends``: functions that take the URI
            and return a `pyxen.backends.base.Backend`.
        workers: For ``xenlight:///``: the number of worker processes, which create and destroy domains. They are
            started when first needed. libxl forks to do this work, which is slow in a large process. With several
            workers, creates overlap as far as the machine has CPUs. By default there is one, and another is started
            whenever all have work, up to one for each CPU, 8 at most. With 0, this process does the work itself.
        xl_conf: The settings of xl to honour as xl does, as an `XlConf` or the path of a file: `create` and `apply` get
            its defaults for vifs, grant tables, claims and domids, and its CPU masks; `attach` those for vifs;
            `pin_vcpu` the masks; and `create`, `restore` and `receive_migration` autoballoon and the lockfile.
            Default: none of them, so that domains come from their configurations alone, and are the same on each host;
            xl reads ``/etc/xen/xl.conf``.

    Raises:
        InvalidArgument: `workers` is no whole number of 0 to 64, or a part of the URI is not valid.
        ParseError: The file of `xl_conf` is not valid; if it cannot be read, it is an OSError.
        NotOnXen: This machine is not a control domain of Xen.
        NotPrivileged: This user may not control it.
        BindingNotBuilt: pyxen was built without the extension for the running Xen.
        LibraryMissing: The extension is installed, but Xen's libraries are not; or libvirt's or msgspec are missing.
        ConnectFailed: The host does not answer.
        UnsupportedFeature: The URI has a form that pyxen does not know; or this is a subinterpreter, or a free-threaded
            Python without the GIL; or `xl_conf` is for a host whose toolstack is not libxl itself.
    """
    return Host(with_settings(open_backend(uri, workers), xl_conf))


def with_settings(backend: Backend, xl_conf: AnyXlConf) -> Backend:
    """Have a backend honour settings of xl; if that fails, close it."""
    if xl_conf is None:
        return backend
    from pyxen.xlconf import XlConf

    try:
        if Feature.AUTOBALLOON not in backend.features:
            message = f"xl_conf: {backend.name} has settings of its own: leave it out"
            raise UnsupportedFeature(message, feature="xl_conf", backend=backend.name)
        backend.xl_conf = xl_conf if isinstance(xl_conf, XlConf) else XlConf.load(xl_conf)
    except BaseException:
        backend.close()
        raise
    return backend


def open_backend(uri: str, workers: int | None) -> Backend:
    """Open the backend for a URI, for both APIs; see `connect`."""
    check_interpreter()
    if workers is not None:
        check_number(workers, "workers")
        if not 0 <= workers <= MOST_WORKERS:
            raise InvalidArgument(f"workers={workers} is out of range: use 0 to {MOST_WORKERS}")
    _check_uri(uri)
    scheme = uri.partition(":")[0]
    if scheme == "xenlight":
        return _open_xenlight(uri, workers)
    if scheme == "memory":
        return _open_memory(uri)
    if scheme in {"xenlight+ssh", "xenlight+unix"}:
        return _open_remote(uri)
    offered = _offered()
    if scheme in offered:
        return _open_offered(offered[scheme], uri)
    if scheme.partition("+")[0] in LIBVIRT:
        return _open_libvirt(uri)
    known = (
        "xenlight:/// (this machine, through libxl), xenlight+ssh://root@host/ (another one), "
        "xenlight+unix:///run/pyxen/serve.sock (this one, without root), "
        "memory:/// (a host in this process, for tests)"
    )
    seen, offers = shown(uri), "".join(f", {name}:" for name in offered)
    raise UnsupportedFeature(f"{seen}: use {known}, or a libvirt URI such as xen:///system{offers}", feature=seen)


def _check_uri(uri: object) -> None:
    """Refuse what is no URI of any scheme: what reads one would leave such a character out, or end there."""
    if not isinstance(uri, str):
        raise InvalidArgument(f"a URI is a text, such as xenlight:///, not {quoted(uri)}", operation="connect")
    wrong = next((character for character in uri if not character.isprintable()), None)
    if wrong is not None:  # the rest may have a password
        raise InvalidArgument(f"a URI has no control characters, and this one has {wrong!r}", operation="connect")


def _open_xenlight(uri: str, workers: int | None) -> Backend:
    driver = uri == "xenlight:///driver"
    if not driver and uri not in {"xenlight:///", "xenlight:"}:
        seen = shown(uri)
        raise UnsupportedFeature(f"{seen}: libxl reaches only this machine: use xenlight:///", feature=seen)
    from pyxen.backends.xenlight.libxl import loader

    loader.check_host(control=not driver)
    if driver:
        from pyxen.backends.xenlight.driver import DriverBackend

        return DriverBackend()
    from pyxen.backends.xenlight.backend import XenlightBackend

    return XenlightBackend(workers)


def _open_libvirt(uri: str) -> Backend:
    from pyxen.backends.libvirt.backend import LibvirtBackend

    return LibvirtBackend(uri)


def _open_remote(uri: str) -> Backend:
    try:
        from pyxen.backends.remote.local import open_local
        from pyxen.backends.remote.ssh import open_remote
    except ModuleNotFoundError as error:
        if error.name != "msgspec":
            raise
        message = "msgspec is not installed: hosts behind pyxen serve need it: pip install 'pyxen[remote]'"
        raise LibraryMissing(message) from error
    return open_remote(uri) if uri.startswith("xenlight+ssh:") else open_local(uri)


def _open_memory(uri: str) -> Backend:
    from pyxen.backends.memory.address import machine_at
    from pyxen.backends.memory.backend import MemoryBackend

    return MemoryBackend(machine_at(uri))


def _offered() -> dict[str, EntryPoint]:
    """Return the backends of other packages, by their schemes."""
    with shortage(ConnectFailed, "cannot look for backends of other packages"):
        from importlib.metadata import entry_points  # takes longer than all else that a connect loads of Python's own

        return {point.name: point for point in entry_points(group=GROUP)}


def _open_offered(point: EntryPoint, uri: str) -> Backend:
    backend: Backend = point.load()(uri)
    return backend
