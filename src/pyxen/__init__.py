"""Run virtual machines on the Xen hypervisor, from typed objects, without a daemon.

Every name is loaded when it is first used, so that importing pyxen costs next to nothing: no compiled module, lxml,
libvirt or asyncio comes in with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pyxen import aio as aio
    from pyxen.config import *  # noqa: F403 (its names are the package's)
    from pyxen.connection import connect as connect
    from pyxen.conversion import convert as convert
    from pyxen.domain import Domain as Domain
    from pyxen.domains import Domains as Domains
    from pyxen.errors import *  # noqa: F403 (its names are the package's)
    from pyxen.eventreader import EventReader as EventReader
    from pyxen.events import *  # noqa: F403 (its names are the package's)
    from pyxen.features import Feature as Feature
    from pyxen.host import Host as Host
    from pyxen.info import DefinedDomain as DefinedDomain
    from pyxen.info import DiskStats as DiskStats
    from pyxen.info import DomainInfo as DomainInfo
    from pyxen.info import DomainState as DomainState
    from pyxen.info import DomainStats as DomainStats
    from pyxen.info import HostInfo as HostInfo
    from pyxen.info import ShutdownReason as ShutdownReason
    from pyxen.info import Trigger as Trigger
    from pyxen.info import VifStats as VifStats
    from pyxen.losses import Loss as Loss
    from pyxen.losses import LossWarning as LossWarning
    from pyxen.operation import Operation as Operation
    from pyxen.remus import RemusOptions as RemusOptions
    from pyxen.supervisor import Brake as Brake
    from pyxen.supervisor import Outcome as Outcome
    from pyxen.supervisor import Supervisor as Supervisor

_NAMES = {
    "Brake": "supervisor",
    "DefinedDomain": "info",
    "DiskStats": "info",
    "Domain": "domain",
    "DomainInfo": "info",
    "DomainState": "info",
    "DomainStats": "info",
    "Domains": "domains",
    "EventReader": "eventreader",
    "Feature": "features",
    "Host": "host",
    "HostInfo": "info",
    "Loss": "losses",
    "LossWarning": "losses",
    "Operation": "operation",
    "Outcome": "supervisor",
    "RemusOptions": "remus",
    "ShutdownReason": "info",
    "Supervisor": "supervisor",
    "Trigger": "info",
    "VifStats": "info",
    "connect": "connection",
    "convert": "conversion",
}
"""Names of this package, and the module that each comes from."""

_WHOLE = ("errors", "config", "events")
"""Modules all of whose public names are names of this package too."""

_MODULES = ("aio", "libxljson", "xlcfg", "libvirtxml", "conversion", "config", "errors", "events", "units")
"""Modules that are there after a bare ``import pyxen``."""


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(f"pyxen.{_NAMES[name]}"), name)
    elif name == "__all__":
        value = [*_NAMES, *_names_of_whole()]
    elif name in _MODULES:
        value = importlib.import_module(f"pyxen.{name}")
    else:
        value = _from_whole(name)
    globals()[name] = value
    return value


def _from_whole(name: str) -> Any:
    if not name.startswith("_"):
        for module in (importlib.import_module(f"pyxen.{whole}") for whole in _WHOLE):
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'pyxen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_NAMES, *_MODULES, *_names_of_whole(), "__version__"})


def _names_of_whole() -> list[str]:
    return [name for module in _WHOLE for name in importlib.import_module(f"pyxen.{module}").__all__]
