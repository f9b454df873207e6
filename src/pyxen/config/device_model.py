"""The device model (QEMU) of a domain, and the stub domain it may run in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import UINT32_MAX, filename, flag, hide_keys, integer, many, mebibytes, member, text
from pyxen.config.enum_names import DeviceModelVersionName
from pyxen.config.enums import DeviceModelVersion

__all__ = ["DeviceModel", "Stubdomain"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class DeviceModel(Part):
    """Which device model runs for a domain, and how (xl.cfg ``device_model_*``)."""

    version: Coerced[DeviceModelVersion | None, DeviceModelVersion | DeviceModelVersionName | None] = setting(
        None, member(DeviceModelVersion), key="device_model_version"
    )
    """Family of device model. Default ``qemu_xen``, the only one that libxl still runs."""
    path: Coerced[str | None, str | os.PathLike[str] | None] = setting(None, filename, key="device_model_override")
    """The program itself. Default: the QEMU that libxl was built with; needs ``version``."""
    user: str | None = setting(None, text, key="device_model_user")
    """User it runs as. Default: root, or xen's own choice with ``restrict``."""
    restrict: bool | None = setting(None, flag, key="dm_restrict")
    """Whether it gives up its privileges after the start. Default: no. xl.cfg calls it experimental."""
    args: Coerced[tuple[str, ...], Iterable[str]] = setting((), many(text), key="device_model_args", secret=hide_keys)
    """Further arguments, for any guest type."""
    args_pv: Coerced[tuple[str, ...], Iterable[str]] = setting(
        (), many(text), key="device_model_args_pv", secret=hide_keys
    )
    """Further arguments when it serves a PV or PVH guest."""
    args_hvm: Coerced[tuple[str, ...], Iterable[str]] = setting(
        (), many(text), key="device_model_args_hvm", secret=hide_keys
    )
    """Further arguments when it serves an HVM guest."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Stubdomain(Part):
    """A small domain that runs the device model instead of dom0 (xl.cfg ``stubdomain_*``); HVM guests."""

    enable: bool | None = setting(None, flag, guests=("hvm",), key="device_model_stubdomain_override")
    """Whether to use one. Default: no."""
    memory: float | None = setting(None, mebibytes, guests=("hvm",), key="stubdomain_memory")
    """Its memory, in MiB. Default 32 for MiniOS, 150 for Linux."""
    kernel: Coerced[str | None, str | os.PathLike[str] | None] = setting(
        None, filename, guests=("hvm",), key="stubdomain_kernel"
    )
    """Its kernel. Default: that which libxl was built with."""
    cmdline: str | None = setting(None, text, guests=("hvm",), key="stubdomain_cmdline")
    """Command line of its kernel."""
    ramdisk: Coerced[str | None, str | os.PathLike[str] | None] = setting(
        None, filename, guests=("hvm",), key="stubdomain_ramdisk"
    )
    """Its ramdisk. Default: that which libxl was built with."""
    seclabel: str | None = setting(None, text, guests=("hvm",), key="device_model_stubdomain_seclabel")
    """XSM label it runs under."""
    ssidref: int = setting(0, integer(0, UINT32_MAX), guests=("hvm",), key="")
    """The label as a number; libxl works it out."""
