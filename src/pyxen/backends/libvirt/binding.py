"""libvirt-python, and the types of what pyxen uses of it: it ships none. Nothing else imports it.

Importing this module loads libvirt, so `pyxen.connect` does it only when a URI is libvirt's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from pyxen.errors import LibraryMissing

__all__ = ["Connection", "Stream", "VirDomain", "VirError", "api", "number", "open_connection", "silence"]

_REMEDY = (
    "pip install 'pyxen[libvirt]' (it compiles: Debian needs libvirt-dev, pkg-config, gcc and python3-dev), "
    "or install Debian's python3-libvirt"
)

_APPLICATION_HAS_IT = "libvirt" in sys.modules

try:
    import libvirt as _libvirt
except ImportError as error:
    raise LibraryMissing(f"libvirt-python does not load ({error}): {_REMEDY}") from None

api: Any = _libvirt
"""The module ``libvirt``."""

VirError: type[Exception] = api.libvirtError
"""What libvirt-python raises."""

logging.getLogger("pyxen").addHandler(logging.NullHandler())  # a library prints nothing by itself
_LOG = logging.getLogger("pyxen.libvirt")


def number(name: str) -> int:
    """Return the value of a constant of libvirt's; -1 if this libvirt-python is too old to have it."""
    return int(getattr(api, name, -1))


def silence() -> None:
    """Have libvirt log its errors, at level ``DEBUG``, rather than print them to stderr; each is raised anyway.

    There is one handler in a process, and libvirt does not say whose it is. An application that has loaded libvirt
    before pyxen did keeps what it has, and one that registers a handler later replaces this one.
    """
    if not _APPLICATION_HAS_IT:
        api.registerErrorHandler(_log_error, None)


def _log_error(_: object, error: Sequence[Any]) -> None:
    _LOG.debug("libvirt error %s: %s", error[0], error[2])


class VirDomain(Protocol):
    """A ``virDomain``, as far as pyxen needs it. Methods are named and counted as libvirt's."""

    def ID(self) -> int: ...  # noqa: D102, N802
    def name(self) -> str: ...  # noqa: D102
    def UUIDString(self) -> str: ...  # noqa: D102, N802
    def OSType(self) -> str: ...  # noqa: D102, N802
    def XMLDesc(self, flags: int) -> str: ...  # noqa: D102, N802
    def state(self) -> list[int]: ...  # noqa: D102
    def info(self) -> list[int]: ...  # noqa: D102
    def maxVcpus(self) -> int: ...  # noqa: D102, N802
    def isPersistent(self) -> int: ...  # noqa: D102, N802
    def autostart(self) -> int: ...  # noqa: D102
    def setAutostart(self, autostart: int) -> int: ...  # noqa: D102, N802
    def createWithFlags(self, flags: int) -> int: ...  # noqa: D102, N802
    def undefineFlags(self, flags: int) -> int: ...  # noqa: D102, N802
    def destroy(self) -> int: ...  # noqa: D102
    def suspend(self) -> int: ...  # noqa: D102
    def resume(self) -> int: ...  # noqa: D102
    def shutdown(self) -> int: ...  # noqa: D102
    def shutdownFlags(self, flags: int) -> int: ...  # noqa: D102, N802
    def reboot(self, flags: int) -> int: ...  # noqa: D102
    def pMSuspendForDuration(self, target: int, duration: int, flags: int) -> int: ...  # noqa: D102, N802
    def pMWakeup(self, flags: int) -> int: ...  # noqa: D102, N802
    def save(self, path: str) -> int: ...  # noqa: D102
    def coreDump(self, path: str, flags: int) -> int: ...  # noqa: D102, N802
    def migrate3(self, connection: Connection, parameters: dict[str, Any], flags: int) -> VirDomain: ...  # noqa: D102
    def abortJob(self) -> int: ...  # noqa: D102, N802
    def attachDeviceFlags(self, xml: str, flags: int) -> int: ...  # noqa: D102, N802
    def detachDeviceFlags(self, xml: str, flags: int) -> int: ...  # noqa: D102, N802
    def updateDeviceFlags(self, xml: str, flags: int) -> int: ...  # noqa: D102, N802
    def setMemoryFlags(self, kib: int, flags: int) -> int: ...  # noqa: D102, N802
    def setVcpusFlags(self, vcpus: int, flags: int) -> int: ...  # noqa: D102, N802
    def pinVcpu(self, vcpu: int, cpus: tuple[bool, ...]) -> int: ...  # noqa: D102, N802
    def schedulerParameters(self) -> dict[str, int]: ...  # noqa: D102, N802
    def setSchedulerParameters(self, parameters: dict[str, int]) -> int: ...  # noqa: D102, N802
    def injectNMI(self, flags: int) -> int: ...  # noqa: D102, N802
    def reset(self, flags: int) -> int: ...  # noqa: D102
    def sendKey(self, codeset: int, hold: int, keys: list[int], count: int, flags: int) -> int: ...  # noqa: D102, N802
    def vcpus(self) -> tuple[list[tuple[int, int, int, int]], Any]: ...  # noqa: D102
    def blockStats(self, disk: str) -> tuple[int, ...]: ...  # noqa: D102, N802
    def interfaceStats(self, interface: str) -> tuple[int, ...]: ...  # noqa: D102, N802
    def openConsole(self, name: str | None, stream: Stream, flags: int) -> int: ...  # noqa: D102, N802


class Stream(Protocol):
    """A ``virStream``."""

    def recv(self, size: int) -> bytes | int: ...  # noqa: D102
    def send(self, data: bytes) -> int: ...  # noqa: D102
    def abort(self) -> int: ...  # noqa: D102
    def eventAddCallback(  # noqa: D102, N802
        self, events: int, callback: Callable[[Stream, int, Any], None], opaque: Any
    ) -> int: ...
    def eventUpdateCallback(self, events: int) -> int: ...  # noqa: D102, N802
    def eventRemoveCallback(self) -> int: ...  # noqa: D102, N802


class Connection(Protocol):
    """A ``virConnect``."""

    def close(self) -> int: ...  # noqa: D102
    def getType(self) -> str: ...  # noqa: D102, N802
    def getURI(self) -> str: ...  # noqa: D102, N802
    def getVersion(self) -> int: ...  # noqa: D102, N802
    def getCapabilities(self) -> str: ...  # noqa: D102, N802
    def getInfo(self) -> list[Any]: ...  # noqa: D102, N802
    def getFreeMemory(self) -> int: ...  # noqa: D102, N802
    def isAlive(self) -> int: ...  # noqa: D102, N802
    def setKeepAlive(self, interval: int, count: int) -> int: ...  # noqa: D102, N802
    def registerCloseCallback(  # noqa: D102, N802
        self, callback: Callable[[Connection, int, Any], None], opaque: Any
    ) -> int: ...
    def unregisterCloseCallback(self) -> int: ...  # noqa: D102, N802
    def listAllDomains(self, flags: int) -> list[VirDomain]: ...  # noqa: D102, N802
    def getAllDomainStats(self, stats: int, flags: int) -> list[tuple[VirDomain, dict[str, Any]]]: ...  # noqa: D102, N802
    def lookupByUUIDString(self, uuid: str) -> VirDomain: ...  # noqa: D102, N802
    def lookupByName(self, name: str) -> VirDomain: ...  # noqa: D102, N802
    def createXML(self, xml: str, flags: int) -> VirDomain: ...  # noqa: D102, N802
    def defineXML(self, xml: str) -> VirDomain: ...  # noqa: D102, N802
    def restore(self, path: str) -> int: ...  # noqa: D102
    def restoreFlags(self, path: str, xml: str | None, flags: int) -> int: ...  # noqa: D102, N802
    def newStream(self, flags: int) -> Stream: ...  # noqa: D102, N802
    def domainEventRegisterAny(  # noqa: D102, N802
        self, domain: None, event: int, callback: Callable[..., None], opaque: Any
    ) -> int: ...
    def domainEventDeregisterAny(self, callback: int) -> int: ...  # noqa: D102, N802


def open_connection(uri: str) -> Connection:
    """Open a connection."""
    return cast(Connection, api.open(uri))
