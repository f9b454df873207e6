"""`connect`: from a URI to a host."""

from __future__ import annotations

from pyxen.backends.base import Backend
from pyxen.errors import UnsupportedFeature
from pyxen.host import Host

__all__ = ["connect", "open_backend"]


def connect(uri: str = "xenlight:///") -> Host:
    """Open a host.

    Args:
        uri: ``xenlight:///``, the default, is the machine that this runs on, through libxl.

    Raises:
        NotOnXen: This machine is not a control domain of Xen.
        NotPrivileged: This user may not control it.
        BindingNotBuilt: pyxen was built without the extension for the running Xen.
        LibraryMissing: The extension is there, but Xen's libraries are not.
        ConnectFailed: libxl or xenstore do not open.
        UnsupportedFeature: The URI is of a kind that pyxen does not know.
    """
    return Host(open_backend(uri))


def open_backend(uri: str) -> Backend:
    """Open the way to a host, for both faces; see `connect`."""
    if uri not in {"xenlight:///", "xenlight:"}:
        raise UnsupportedFeature(f"{uri}: pyxen knows xenlight:/// (this machine, through libxl)", feature=uri)
    from pyxen.xenlight import loader

    loader.check_host()
    from pyxen.backends.xenlight import XenlightBackend

    return XenlightBackend()
