"""The configuration model: a domain and its devices as immutable objects, independent of C, XML and files.

`DomainConfig` is the whole. Each kind of device and each group of settings has its own module here.
"""

from __future__ import annotations

from pyxen.config.base import Part, Setting, settings_of
from pyxen.config.channel import Channel
from pyxen.config.cpuid import CpuidLeaf, CpuidPolicy, MsrPolicy
from pyxen.config.cpuset import CpuSet
from pyxen.config.device import Device
from pyxen.config.device_model import DeviceModel, Stubdomain
from pyxen.config.difference import ConfigDiff, DeviceChange, SettingChange
from pyxen.config.disk import Disk, DiskColo
from pyxen.config.domain import DomainConfig
from pyxen.config.enums import (
    ActionOnShutdown,
    Altp2mMode,
    ArmSciType,
    BiosType,
    ChannelConnection,
    DeviceModelVersion,
    DiskBackend,
    DiskFormat,
    DiskSpecification,
    DomainType,
    GfxPassthruKind,
    GicVersion,
    HdType,
    LibxlEnum,
    McaCap,
    NicType,
    P9Type,
    Passthrough,
    RdmReservePolicy,
    RdmReserveStrategy,
    SchedulerKind,
    SmbiosType,
    SveType,
    TeeType,
    TimerMode,
    TscMode,
    UsbCtrlType,
    VendorDevice,
    VgaInterfaceType,
    ViridianEnlightenment,
    VirtioTransport,
    VkbBackend,
    VsndPcmFormat,
    VsndStreamType,
    VuartType,
)
from pyxen.config.genid import GenerationId
from pyxen.config.graphics import Sdl, Spice, Vnc
from pyxen.config.media import Connector, Vdispl, Vsnd, VsndParams, VsndPcm, VsndStream
from pyxen.config.p9 import P9
from pyxen.config.pci import Pci, PciAddress, Rdm, RdmRegion
from pyxen.config.platform import Arm, IomemRange, IoportRange, PvShim
from pyxen.config.pvcalls import Pvcalls
from pyxen.config.rate import Rate
from pyxen.config.releases import newer_than
from pyxen.config.scheduler import Scheduler
from pyxen.config.smbios import Smbios
from pyxen.config.usb import UsbCtrl, UsbDev
from pyxen.config.validate import Problem
from pyxen.config.vdev import vdev_number
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import COLO_KEYS, Mac, Vif
from pyxen.config.viridian import Viridian
from pyxen.config.virtio import Virtio
from pyxen.config.vnuma import VNode
from pyxen.config.vtpm import Vtpm

__all__ = [
    "COLO_KEYS",
    "P9",
    "ActionOnShutdown",
    "Altp2mMode",
    "Arm",
    "ArmSciType",
    "BiosType",
    "Channel",
    "ChannelConnection",
    "ConfigDiff",
    "Connector",
    "CpuSet",
    "CpuidLeaf",
    "CpuidPolicy",
    "Device",
    "DeviceChange",
    "DeviceModel",
    "DeviceModelVersion",
    "Disk",
    "DiskBackend",
    "DiskColo",
    "DiskFormat",
    "DiskSpecification",
    "DomainConfig",
    "DomainType",
    "GenerationId",
    "GfxPassthruKind",
    "GicVersion",
    "HdType",
    "IomemRange",
    "IoportRange",
    "LibxlEnum",
    "Mac",
    "McaCap",
    "MsrPolicy",
    "NicType",
    "P9Type",
    "Part",
    "Passthrough",
    "Pci",
    "PciAddress",
    "Problem",
    "PvShim",
    "Pvcalls",
    "Rate",
    "Rdm",
    "RdmRegion",
    "RdmReservePolicy",
    "RdmReserveStrategy",
    "Scheduler",
    "SchedulerKind",
    "Sdl",
    "Setting",
    "SettingChange",
    "Smbios",
    "SmbiosType",
    "Spice",
    "Stubdomain",
    "SveType",
    "TeeType",
    "TimerMode",
    "TscMode",
    "UsbCtrl",
    "UsbCtrlType",
    "UsbDev",
    "VNode",
    "Vdispl",
    "VendorDevice",
    "Vfb",
    "VgaInterfaceType",
    "Vif",
    "Viridian",
    "ViridianEnlightenment",
    "Virtio",
    "VirtioTransport",
    "Vkb",
    "VkbBackend",
    "Vnc",
    "Vsnd",
    "VsndParams",
    "VsndPcm",
    "VsndPcmFormat",
    "VsndStream",
    "VsndStreamType",
    "Vtpm",
    "VuartType",
    "newer_than",
    "settings_of",
    "vdev_number",
]
