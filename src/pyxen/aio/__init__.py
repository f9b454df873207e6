"""Hosts and domains for asyncio: the names of `pyxen`, awaited.

The event loop is never blocked. Read-only calls run on a thread, and verbs that take time are operations of the
backend; both are awaited. Cancelling a task, also by `asyncio.timeout`, cancels its operation, waits until its partial
work is undone, and then raises `asyncio.CancelledError`. A second cancel does not wait, but the work is undone all the
same. If `Host.create` or `Host.restore` is cancelled too late to be stopped, its domain is destroyed, since the caller
did not get the handle.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from pyxen.aio.connection import connect
from pyxen.aio.cpupool import Cpupool
from pyxen.aio.cpupools import Cpupools
from pyxen.aio.devicetree import DeviceTree
from pyxen.aio.domain import Domain
from pyxen.aio.domains import Domains
from pyxen.aio.flask import Flask
from pyxen.aio.guests import Guests
from pyxen.aio.host import Host
from pyxen.aio.hosts import Hosts
from pyxen.aio.hypfs import Hypfs
from pyxen.aio.libvirtverbs import LibvirtVerbs
from pyxen.aio.livedevices import LiveDevices
from pyxen.aio.pcidevices import PciDevices
from pyxen.aio.pool import Pool
from pyxen.aio.psr import Psr
from pyxen.aio.qmp import Qmp
from pyxen.aio.readers.console import ConsoleStream
from pyxen.aio.readers.events import EventReader
from pyxen.aio.readers.log import LogReader
from pyxen.aio.readers.qmp import QmpEvents
from pyxen.aio.readers.xenstore import XenstoreWatch
from pyxen.aio.sampler import Sampler
from pyxen.aio.usbdevices import UsbDevices
from pyxen.aio.vm import Vm
from pyxen.aio.xenstore import Xenstore

if TYPE_CHECKING:
    from pyxen.aio import autostart as autostart
    from pyxen.aio import bridges as bridges
    from pyxen.aio import doctor as doctor
    from pyxen.aio import images as images
    from pyxen.aio import storage as storage

__all__ = [
    "ConsoleStream",
    "Cpupool",
    "Cpupools",
    "DeviceTree",
    "Domain",
    "Domains",
    "EventReader",
    "Flask",
    "Guests",
    "Host",
    "Hosts",
    "Hypfs",
    "LibvirtVerbs",
    "LiveDevices",
    "LogReader",
    "PciDevices",
    "Pool",
    "Psr",
    "Qmp",
    "QmpEvents",
    "Sampler",
    "UsbDevices",
    "Vm",
    "Xenstore",
    "XenstoreWatch",
    "connect",
]

_MODULES: Final = ("autostart", "bridges", "doctor", "images", "storage")
"""The modules that can be used after a plain ``import pyxen``. They are loaded when first used."""

if not TYPE_CHECKING:  # a type checker that saw this would accept every misspelt name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            message = f"module 'pyxen.aio' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules["pyxen.aio"])  # lets Python suggest the right name
        return importlib.import_module(f"pyxen.aio.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
