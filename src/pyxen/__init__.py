"""Virtual machines on the Xen hypervisor, as typed objects and without a daemon.

::

    import pyxen
    from pyxen import Disk, DomainConfig, Vif

    with pyxen.connect() as xen:
        config = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=512)
        web = xen.create(config)
        print(xen.list())
        web.shutdown(timeout=60)

What is where; each name has a help page, e.g. ``help(pyxen.Host)``:

=========================================  ==========================================================
`connect`, `Host`                          a host, and how to open one
`Hosts`, `Answers`                         many hosts at once, and what they answer
`Domain`, `Domains`, `Operation`           domains, their verbs, and verbs that are still running
`Guests`, `Vm`                             domains without dom0, and a handle that follows one through restarts
`DomainConfig`, `Disk`, `Vif`, `Pci`, ...  the configuration of a domain: a class for each kind of device
`LiveDevices`, `LiveDevice`                the devices of a running domain, with their state
`DomainInfo`, `HostInfo`, `DomainStats`    snapshots of a domain, a host, and resource usage
`Pool`                                     guests that are ready before they are needed
`Cpupool`, `Cpupools`, `CpupoolInfo`       CPU pools, and their snapshots; `PoolScheduler`, `VcpuInfo`
`PciDevices`, `UsbDevices`                 the host's own devices; `PciDevice`, `UsbDevice`
`EventReader`, `Event` and subclasses      events on a host
`Hypfs`, `LogReader`, `Flask`, `Psr`       Xen's own file system, log and security; shares of caches
`ConsoleStream`, `attach_terminal`         the console of a guest
`Sampler`                                  CPU, disk and network usage per second
`Xenstore`, `XenstoreWatch`                the xenstore of a host, and watches of its nodes
`XlConf`                                   the settings of xl itself, ``/etc/xen/xl.conf``
`Supervisor`                               restarts domains, following ``on_reboot`` and so on
`pyxen.doctor`                             what a host lacks to run domains, and what to do about it
`pyxen.bridges`                            bridges of the host, and the interfaces of vifs
`pyxen.images`                             disks with a system on them: of a distribution, or from a cloud image
`pyxen.storage`                            volumes of LVM and image files, the disks of guests
`pyxen.autostart`                          domains that start and stop with their host, as xendomains has them
`Error` and subclasses                     all exceptions that pyxen raises on purpose
`pyxen.aio`                                the same hosts and domains, for asyncio
`pyxen.xlcfg`, `pyxen.libvirtxml`,         the formats of a configuration; `convert` converts
`pyxen.libxljson`                          between them
`pyxen.testing`                            a host in memory, for the tests of your own program
=========================================  ==========================================================

Names are loaded when first used, so importing pyxen is cheap: it does not load a compiled module, lxml, libvirt or
asyncio.
"""

from __future__ import annotations

import importlib
import sys

__version__ = "0.1.0"

TYPE_CHECKING = False  # as that of typing, whose import takes longer than all of this module
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from pyxen import aio as aio
    from pyxen import autostart as autostart
    from pyxen import bridges as bridges
    from pyxen import config as config
    from pyxen import conversion as conversion
    from pyxen import doctor as doctor
    from pyxen import errors as errors
    from pyxen import events as events
    from pyxen import images as images
    from pyxen import libvirtxml as libvirtxml
    from pyxen import libxljson as libxljson
    from pyxen import storage as storage
    from pyxen import testing as testing
    from pyxen import units as units
    from pyxen import xlcfg as xlcfg
    from pyxen._placement import VcpuPin
    from pyxen.applying import Applied, ApplyStep
    from pyxen.config import (
        P9,
        ActionOnShutdown,
        Altp2mMode,
        Arm,
        ArmSciType,
        BiosType,
        Channel,
        ChannelConnection,
        ConfigDiff,
        Connector,
        CpuidLeaf,
        CpuidPolicy,
        CpuSet,
        DeviceModel,
        DeviceModelVersion,
        Disk,
        DiskBackend,
        DiskColo,
        DiskFormat,
        DiskSpecification,
        DomainConfig,
        DomainType,
        GenerationId,
        GfxPassthruKind,
        GicVersion,
        HdType,
        IomemRange,
        IoportRange,
        Mac,
        McaCap,
        MsrPolicy,
        NicType,
        P9Type,
        Passthrough,
        Pci,
        PciAddress,
        Problem,
        Pvcalls,
        PvShim,
        Rate,
        Rdm,
        RdmRegion,
        RdmReservePolicy,
        RdmReserveStrategy,
        Scheduler,
        SchedulerKind,
        Sdl,
        Smbios,
        SmbiosType,
        Spice,
        Stubdomain,
        SveType,
        TeeType,
        TimerMode,
        TscMode,
        UsbCtrl,
        UsbCtrlType,
        UsbDev,
        Vdispl,
        VendorDevice,
        Vfb,
        VgaInterfaceType,
        Vif,
        Viridian,
        ViridianEnlightenment,
        Virtio,
        VirtioTransport,
        Vkb,
        VkbBackend,
        Vnc,
        VNode,
        Vsnd,
        VsndParams,
        VsndPcm,
        VsndPcmFormat,
        VsndStream,
        VsndStreamType,
        Vtpm,
        VuartType,
    )
    from pyxen.connection import connect
    from pyxen.conversion import convert
    from pyxen.cpupool import Cpupool
    from pyxen.cpupools import Cpupools
    from pyxen.devicetree import DeviceTree
    from pyxen.domain import Domain
    from pyxen.domains import Domains
    from pyxen.errors import (
        ApplyFailed,
        BackupLost,
        BindingNotBuilt,
        CloneFailed,
        ConfigError,
        ConnectFailed,
        CpupoolExists,
        DeviceExists,
        DomainExists,
        DomainNotFound,
        Error,
        FileMissing,
        GuestTimeout,
        HostClosed,
        ImageError,
        InvalidArgument,
        InvalidState,
        LibraryMissing,
        LockFailed,
        LossyConversion,
        MigrationFailed,
        MigrationInDoubt,
        NodeNotFound,
        NoGuestDriver,
        NoNetwork,
        NotEnoughMemory,
        NotEnoughSpace,
        NotFound,
        NotOnXen,
        NotPrivileged,
        NotReady,
        OperationCancelled,
        OperationFailed,
        OperationTimeout,
        ParseError,
        QmpError,
        StorageError,
        ToolMissing,
        UnsupportedFeature,
        ValidationError,
        VolumeExists,
        VolumeInUse,
        XenstoreConflict,
        XenstoreDenied,
        XenstoreError,
        XenstoreQuota,
    )
    from pyxen.events import (
        DeviceAdded,
        DeviceEvent,
        DeviceRemoved,
        DiskEjected,
        DomainCreated,
        DomainDefined,
        DomainDestroyed,
        DomainEvent,
        DomainPaused,
        DomainRenamed,
        DomainShutdown,
        DomainUndefined,
        DomainUnpaused,
        Event,
        EventsLost,
        MemoryTargetChanged,
    )
    from pyxen.features import Feature
    from pyxen.flask import Flask
    from pyxen.guests import Guests
    from pyxen.host import Host
    from pyxen.hosts import Hosts
    from pyxen.hypfs import Hypfs
    from pyxen.libvirtverbs import LibvirtVerbs
    from pyxen.livedevices import LiveDevices
    from pyxen.losses import Loss, LossWarning
    from pyxen.operation import Operation, Progress
    from pyxen.pcidevices import PciDevices
    from pyxen.pool import Pool
    from pyxen.psr import Psr
    from pyxen.qmp import Qmp
    from pyxen.readers.console import ConsoleStream
    from pyxen.readers.events import EventReader
    from pyxen.readers.log import LogReader
    from pyxen.readers.qmp import QmpEvents
    from pyxen.readers.xenstore import XenstoreWatch
    from pyxen.records.answers import Answer, Answers
    from pyxen.records.capabilities import HostCapability
    from pyxen.records.endpoints import (
        ChannelEndpoint,
        ConsoleEndpoint,
        ConsoleType,
        Endpoints,
        SpiceEndpoint,
        VncEndpoint,
    )
    from pyxen.records.host_devices import PciDevice, UsbDevice
    from pyxen.records.hypfs import HypfsEntry, HypfsType
    from pyxen.records.info import (
        DefinedDomain,
        DomainInfo,
        DomainState,
        DomainUptime,
        HostInfo,
        ShutdownReason,
        Trigger,
        XenVersion,
    )
    from pyxen.records.libvirt import (
        AddressSource,
        CpuComparison,
        GuestKind,
        InterfaceAddresses,
        LibvirtCapabilities,
        LibvirtDomainCapabilities,
        LibvirtJob,
        LibvirtNetwork,
        LibvirtPool,
        LibvirtVolume,
    )
    from pyxen.records.live_device import LiveDevice
    from pyxen.records.memory import DomainMemory
    from pyxen.records.psr import PsrAllocation, PsrEvent, PsrKind, PsrMonitoring, PsrSample
    from pyxen.records.qmp_event import QmpEvent
    from pyxen.records.scheduling import CpupoolInfo, PoolScheduler, VcpuInfo, VcpuState
    from pyxen.records.stats import DeviceState, DiskRates, DiskStats, DomainRates, DomainStats, VifRates, VifStats
    from pyxen.records.topology import HostCpu, NumaNode, PciPlace, Topology
    from pyxen.records.xenstore import NodeAccess, NodeChange, NodePermissions
    from pyxen.remus import RemusOptions
    from pyxen.sampler import Sampler
    from pyxen.supervisor import Brake, Outcome, Supervisor
    from pyxen.terminal import attach_terminal
    from pyxen.usbdevices import UsbDevices
    from pyxen.vm import Vm
    from pyxen.xenstore import Xenstore
    from pyxen.xenstorenodes import XenstoreTransaction
    from pyxen.xlconf import XlConf

__all__ = [
    "P9",
    "ActionOnShutdown",
    "AddressSource",
    "Altp2mMode",
    "Answer",
    "Answers",
    "Applied",
    "ApplyFailed",
    "ApplyStep",
    "Arm",
    "ArmSciType",
    "BackupLost",
    "BindingNotBuilt",
    "BiosType",
    "Brake",
    "Channel",
    "ChannelConnection",
    "ChannelEndpoint",
    "CloneFailed",
    "ConfigDiff",
    "ConfigError",
    "ConnectFailed",
    "Connector",
    "ConsoleEndpoint",
    "ConsoleStream",
    "ConsoleType",
    "CpuComparison",
    "CpuSet",
    "CpuidLeaf",
    "CpuidPolicy",
    "Cpupool",
    "CpupoolExists",
    "CpupoolInfo",
    "Cpupools",
    "DefinedDomain",
    "DeviceAdded",
    "DeviceEvent",
    "DeviceExists",
    "DeviceModel",
    "DeviceModelVersion",
    "DeviceRemoved",
    "DeviceState",
    "DeviceTree",
    "Disk",
    "DiskBackend",
    "DiskColo",
    "DiskEjected",
    "DiskFormat",
    "DiskRates",
    "DiskSpecification",
    "DiskStats",
    "Domain",
    "DomainConfig",
    "DomainCreated",
    "DomainDefined",
    "DomainDestroyed",
    "DomainEvent",
    "DomainExists",
    "DomainInfo",
    "DomainMemory",
    "DomainNotFound",
    "DomainPaused",
    "DomainRates",
    "DomainRenamed",
    "DomainShutdown",
    "DomainState",
    "DomainStats",
    "DomainType",
    "DomainUndefined",
    "DomainUnpaused",
    "DomainUptime",
    "Domains",
    "Endpoints",
    "Error",
    "Event",
    "EventReader",
    "EventsLost",
    "Feature",
    "FileMissing",
    "Flask",
    "GenerationId",
    "GfxPassthruKind",
    "GicVersion",
    "GuestKind",
    "GuestTimeout",
    "Guests",
    "HdType",
    "Host",
    "HostCapability",
    "HostClosed",
    "HostCpu",
    "HostInfo",
    "Hosts",
    "Hypfs",
    "HypfsEntry",
    "HypfsType",
    "ImageError",
    "InterfaceAddresses",
    "InvalidArgument",
    "InvalidState",
    "IomemRange",
    "IoportRange",
    "LibraryMissing",
    "LibvirtCapabilities",
    "LibvirtDomainCapabilities",
    "LibvirtJob",
    "LibvirtNetwork",
    "LibvirtPool",
    "LibvirtVerbs",
    "LibvirtVolume",
    "LiveDevice",
    "LiveDevices",
    "LockFailed",
    "LogReader",
    "Loss",
    "LossWarning",
    "LossyConversion",
    "Mac",
    "McaCap",
    "MemoryTargetChanged",
    "MigrationFailed",
    "MigrationInDoubt",
    "MsrPolicy",
    "NicType",
    "NoGuestDriver",
    "NoNetwork",
    "NodeAccess",
    "NodeChange",
    "NodeNotFound",
    "NodePermissions",
    "NotEnoughMemory",
    "NotEnoughSpace",
    "NotFound",
    "NotOnXen",
    "NotPrivileged",
    "NotReady",
    "NumaNode",
    "Operation",
    "OperationCancelled",
    "OperationFailed",
    "OperationTimeout",
    "Outcome",
    "P9Type",
    "ParseError",
    "Passthrough",
    "Pci",
    "PciAddress",
    "PciDevice",
    "PciDevices",
    "PciPlace",
    "Pool",
    "PoolScheduler",
    "Problem",
    "Progress",
    "Psr",
    "PsrAllocation",
    "PsrEvent",
    "PsrKind",
    "PsrMonitoring",
    "PsrSample",
    "PvShim",
    "Pvcalls",
    "Qmp",
    "QmpError",
    "QmpEvent",
    "QmpEvents",
    "Rate",
    "Rdm",
    "RdmRegion",
    "RdmReservePolicy",
    "RdmReserveStrategy",
    "RemusOptions",
    "Sampler",
    "Scheduler",
    "SchedulerKind",
    "Sdl",
    "ShutdownReason",
    "Smbios",
    "SmbiosType",
    "Spice",
    "SpiceEndpoint",
    "StorageError",
    "Stubdomain",
    "Supervisor",
    "SveType",
    "TeeType",
    "TimerMode",
    "ToolMissing",
    "Topology",
    "Trigger",
    "TscMode",
    "UnsupportedFeature",
    "UsbCtrl",
    "UsbCtrlType",
    "UsbDev",
    "UsbDevice",
    "UsbDevices",
    "VNode",
    "ValidationError",
    "VcpuInfo",
    "VcpuPin",
    "VcpuState",
    "Vdispl",
    "VendorDevice",
    "Vfb",
    "VgaInterfaceType",
    "Vif",
    "VifRates",
    "VifStats",
    "Viridian",
    "ViridianEnlightenment",
    "Virtio",
    "VirtioTransport",
    "Vkb",
    "VkbBackend",
    "Vm",
    "Vnc",
    "VncEndpoint",
    "VolumeExists",
    "VolumeInUse",
    "Vsnd",
    "VsndParams",
    "VsndPcm",
    "VsndPcmFormat",
    "VsndStream",
    "VsndStreamType",
    "Vtpm",
    "VuartType",
    "XenVersion",
    "Xenstore",
    "XenstoreConflict",
    "XenstoreDenied",
    "XenstoreError",
    "XenstoreQuota",
    "XenstoreTransaction",
    "XenstoreWatch",
    "XlConf",
    "attach_terminal",
    "connect",
    "convert",
]

if not TYPE_CHECKING:  # a type checker that saw this would accept every misspelt name

    def __getattr__(name: str) -> Any:
        from pyxen._homes import MODULES

        if name in __all__:
            value = getattr(_home(name), name)
        elif name in MODULES:
            value = importlib.import_module(f"pyxen.{name}")
        else:
            message = f"module 'pyxen' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules["pyxen"])  # lets Python suggest the right name
        globals()[name] = value
        return value


def _home(name: str) -> ModuleType:
    """Import and return the module that defines a name."""
    from pyxen._homes import HOMES, WHOLE

    if name in HOMES:
        return importlib.import_module(f"pyxen.{HOMES[name]}")
    modules = (importlib.import_module(f"pyxen.{whole}") for whole in WHOLE)
    return next(module for module in modules if name in module.__all__)


def __dir__() -> list[str]:
    from pyxen._homes import MODULES

    names = {*MODULES, "__version__"}
    if not _for_help():
        names |= {*__all__}
    return sorted(names)


def _for_help() -> bool:
    """Tell whether pydoc is the caller: it would print all classes on one page of tens of thousands of lines."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 (there is no other way to find the caller)
    callers: list[object] = []
    while frame is not None and len(callers) < 7:
        callers.append(frame.f_globals.get("__name__"))
        frame = frame.f_back
    return "pydoc" in callers
