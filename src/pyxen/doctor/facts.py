"""Facts that several subjects need: whether this is Xen, and what Xen says of the host."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.backends.xenlight.libxl import loader
from pyxen.doctor.surroundings import Surroundings
from pyxen.errors import Error
from pyxen.records.info import DomainInfo, HostInfo

__all__ = ["Facts", "ask_host", "look"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the host.

    Attributes:
        version: The version of the running Xen; empty without Xen, or if the kernel does not say.
        on_xen: Whether this machine runs on Xen.
        control: Whether it is a control domain; None if the kernel does not say.
        privileged: Whether this user may control Xen.
        host: What Xen says of the host; None if it was not asked, or did not answer.
        dom0: What Xen says of dom0, likewise.
        silence: Why there is no `host`; None if there is one, or if Xen was not asked.
    """

    version: str = ""
    on_xen: bool = False
    control: bool | None = None
    privileged: bool = False
    host: HostInfo | None = None
    dom0: DomainInfo | None = None
    silence: str | None = None

    @property
    def release(self) -> str | None:
        """The release of the running Xen, e.g. ``4.20``; None if unknown."""
        return ".".join(self.version.split(".")[:2]) if "." in self.version else None

    @property
    def is_dom0(self) -> bool:
        """Whether this machine controls domains."""
        return self.on_xen and self.control is not False


def look(around: Surroundings) -> Facts:
    """Return what the kernel says."""
    version = loader.running_version(around.path(loader.SYSFS))
    kind = (around.read(f"{loader.SYSFS}/type") or "").strip()
    capabilities = around.read(loader.CAPABILITIES)
    return Facts(
        version=version,
        on_xen=kind == "xen" or (not kind and around.exists(loader.PRIVCMD)),
        control=None if capabilities is None else "control_d" in capabilities,
        privileged=around.may_use(loader.PRIVCMD),
    )


def ask_host(around: Surroundings) -> tuple[HostInfo, DomainInfo | None] | str:
    """Return what Xen says of the host and of dom0, or why it says nothing."""
    if around.connect is None:
        return "this is not the machine itself"
    try:
        with around.connect() as host:
            dom0 = next((info for info in host.list() if info.domid == 0), None)
            return host.info(), dom0
    except Error as error:
        return str(error)
