"""`connect`: from a URI to a host."""

from __future__ import annotations

from pyxen.backends.base import Backend
from pyxen.errors import InvalidArgument, UnsupportedFeature
from pyxen.host import Host

__all__ = ["connect", "open_backend"]

MOST_WORKERS = 64


def connect(uri: str = "xenlight:///", *, workers: int = 1) -> Host:
    """Open a host.

    Args:
        uri: ``xenlight:///``, the default, is the machine that this runs on, through libxl.
        workers: Processes beside this one that create and destroy domains, begun when there is first something to do
            for them. libxl forks for that, which is slow in a large process. With several, creates overlap as far as
            the machine has CPUs. With 0 all is done in this process.

    Raises:
        InvalidArgument: There cannot be as many workers.
        NotOnXen: This machine is not a control domain of Xen.
        NotPrivileged: This user may not control it.
        BindingNotBuilt: pyxen was built without the extension for the running Xen.
        LibraryMissing: The extension is there, but Xen's libraries are not.
        ConnectFailed: libxl or xenstore do not open.
        UnsupportedFeature: The URI is of a kind that pyxen does not know.
    """
    return Host(open_backend(uri, workers))


def open_backend(uri: str, workers: int) -> Backend:
    """Open the way to a host, for both faces; see `connect`."""
    if not 0 <= workers <= MOST_WORKERS:
        raise InvalidArgument(f"workers={workers}: a host has 0 to {MOST_WORKERS} of them")
    if uri not in {"xenlight:///", "xenlight:"}:
        raise UnsupportedFeature(f"{uri}: pyxen knows xenlight:/// (this machine, through libxl)", feature=uri)
    from pyxen.xenlight import loader

    loader.check_host()
    from pyxen.backends.xenlight import XenlightBackend

    return XenlightBackend(workers)
