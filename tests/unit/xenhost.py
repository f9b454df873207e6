"""A host in this process: domains as Xen lists them, and what a toolstack writes to xenstore beside them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason
from tests.unit.infos import domain_info
from tests.unit.xenstored import Xenstored

__all__ = ["XenHost"]


class XenHost:
    """Domains that come, change and go, each step in the order in which libxl and Xen take it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Xenstored(folder)
        self.domains: dict[int, DomainInfo] = {}
        self._uuids = (UUID(int=number) for number in itertools.count(1))
        self.make(0, "Domain-0")
        self.introduce(0)

    def close(self) -> None:
        """Stop xenstored."""
        self.server.close()

    def restart_xenstored(self) -> None:
        """Put a new xenstored with the same content in the place of the old one."""
        old = self.server
        old.close()
        self.server = Xenstored(self.folder)
        self.server.introduced = old.introduced
        self.server._nodes = old._nodes

    def connect(self) -> Connection:
        """Open a connection to xenstore."""
        return Connection(sockets=[self.server.path], devices=())

    def look(self) -> list[DomainInfo]:
        """Return all domains, as Xen lists them."""
        return [self.domains[domid] for domid in sorted(self.domains)]

    def uuid(self, domid: int) -> UUID:
        """Return a domain's uuid."""
        return self.domains[domid].uuid

    def create(self, domid: int, name: str) -> None:
        """Create a domain with a console, as ``xl create``."""
        self.make(domid, name)
        self.introduce(domid)
        self.attach(domid, "console", 0)

    def make(self, domid: int, name: str | None) -> None:
        """Do what is done before a domain is introduced."""
        self.domains[domid] = domain_info(domid, None, next(self._uuids), DomainState.PAUSED)
        if name is not None:
            self.server.write(f"/local/domain/{domid}/name", name)
        self.server.write(f"/local/domain/{domid}/memory/target", "8192")

    def introduce(self, domid: int) -> None:
        """Tell xenstored of a domain."""
        self.server.introduced.add(domid)
        self.server.fire("@introduceDomain")

    def destroy(self, domid: int) -> None:
        """Destroy a domain, as ``xl destroy``: its entries first."""
        for device in [path for path in self.server._nodes if path.startswith(f"/libxl/{domid}/device/")]:
            self.server.remove(device)
        self.server.remove(f"/local/domain/{domid}")
        self.server.remove(f"/libxl/{domid}")
        del self.domains[domid]
        self.release(domid)

    def release(self, domid: int) -> None:
        """Let xenstored find out that a domain is gone."""
        self.server.introduced.discard(domid)
        self.server.fire("@releaseDomain")

    def shut_down(self, domid: int, reason: ShutdownReason) -> None:
        """Let a guest shut down."""
        self.change(domid, state=DomainState.SHUTDOWN, reason=reason)
        self.server.fire("@releaseDomain")

    def change(self, domid: int, *, state: DomainState, reason: ShutdownReason | None) -> None:
        """Change what Xen says of a domain, of which it tells nobody."""
        self.domains[domid] = replace(self.domains[domid], state=state, shutdown_reason=reason)

    def set_uuid(self, domid: int, uuid: UUID) -> None:
        """Give a domain another uuid, of which Xen tells nobody."""
        self.domains[domid] = replace(self.domains[domid], uuid=uuid)

    def rename(self, domid: int, name: str) -> None:
        """Rename a domain."""
        self.server.write(f"/local/domain/{domid}/name", name)

    def set_target(self, domid: int, kib: int) -> None:
        """Set a domain's memory target."""
        self.server.write(f"/local/domain/{domid}/memory/target", str(kib))

    def attach(self, domid: int, kind: str, devid: int, *, backend: int | None = 0, medium: str | None = None) -> None:
        """Add a device, in one step as a transaction does."""
        record = f"/libxl/{domid}/device/{kind}/{devid}"
        nodes = {f"{record}/frontend": f"/local/domain/{domid}/device/{kind}/{devid}"}
        if backend is not None:
            nodes[f"{record}/backend"] = f"/local/domain/{backend}/backend/{kind}/{domid}/{devid}"
        if medium is not None:
            nodes |= {f"{record}/dev": "hdc", f"{record}/params": medium}
        with self.server._lock:
            self.server._nodes |= nodes
            for path in nodes:
                self.server.fire(path)

    def detach(self, domid: int, kind: str, devid: int) -> None:
        """Remove a device."""
        self.server.remove(f"/libxl/{domid}/device/{kind}/{devid}")

    def insert(self, domid: int, devid: int, medium: str) -> None:
        """Put something into a drive, or nothing."""
        self.server.write(f"/libxl/{domid}/device/vbd/{devid}/params", medium)

    def eject_in_guest(self, domid: int, devid: int) -> None:
        """Let the guest's driver eject a disk."""
        self.server.write(f"/local/domain/{domid}/device/vbd/{devid}/eject", "eject")
