"""Hypothesis strategies for the model: its parts, and configurations of any guest type.

Each field that they draw is valid by itself, and is one that the guest type has. Fields are drawn independently, so the
result need not pass `validate`. The results of `creatable_configs` do, and a `FakeHost` can create them.
"""

from __future__ import annotations

import string
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pyxen import config as model
from pyxen.config import CpuSet, DomainConfig, Part, settings_of

__all__ = [
    "cpu_sets",
    "creatable_configs",
    "devices",
    "domain_configs",
    "fields_of",
    "macs",
    "names",
    "part",
    "pci_addresses",
    "texts",
]

_P = TypeVar("_P", bound=Part)

INT_MAX = 2**31 - 1
UINT32_MAX = 2**32 - 1
UINT64_MAX = 2**64 - 1

_ALNUM = string.ascii_letters + string.digits

flags = st.sampled_from([True, False])
uint32 = st.integers(0, UINT32_MAX)
uint64 = st.integers(0, 2**53)  # the integers that every JSON library preserves
ports = st.integers(0, 65535)
domids = st.integers(0, 0x7FFF)
devids = st.integers(0, 9)


def names() -> SearchStrategy[str]:
    """Words that need no quotes in any format: names of bridges, domains, disks."""
    return st.builds(str.__add__, st.sampled_from(_ALNUM), st.text(f"{_ALNUM}_.+-", max_size=11))


def paths() -> SearchStrategy[str]:
    """Absolute paths of files and devices."""
    return st.lists(names(), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


def texts() -> SearchStrategy[str]:
    """Lines that need quoting, such as command lines and passwords; not empty, without blanks at either end."""
    letters = st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_categories=["Cc", "Cf", "Zs"])
    inner = st.text(st.one_of(letters, st.just(" ")), max_size=20)
    return st.builds(lambda first, middle, last: first + middle + last, letters, inner, letters)


def mebibytes() -> SearchStrategy[float]:
    """Amounts of memory in MiB, mostly whole."""
    kibibytes = st.integers(0, 2**30).map(lambda kib: kib / 1024 if kib % 1024 else kib // 1024)
    return st.one_of(st.integers(1, 2**20), st.integers(1, 4096), kibibytes)


def cpu_sets(*, resolved: bool = False) -> SearchStrategy[CpuSet]:
    """Sets of CPUs; with `resolved`, only those that mean the same on every host."""
    concrete = st.sets(st.integers(0, 63), min_size=1, max_size=8).map(CpuSet)
    if resolved:
        return concrete
    symbolic = st.sampled_from(["all", "nodes:0", "nodes:0-1,^3", "all,^nodes:1", "node:1,0-2"]).map(CpuSet)
    return st.one_of(concrete, symbolic)


def affinities(*, resolved: bool = False) -> SearchStrategy[Any]:
    """One set for all vCPUs, or one for each of the first."""
    one = cpu_sets(resolved=resolved)
    return st.one_of(one, st.lists(one, min_size=1, max_size=5).map(tuple))


def macs() -> SearchStrategy[model.Mac]:
    """Unicast MAC addresses."""
    return st.binary(min_size=6, max_size=6).map(
        lambda octets: model.Mac(":".join(f"{octet:02x}" for octet in (octets[0] & 0xFE, *octets[1:])))
    )


def pci_addresses() -> SearchStrategy[model.PciAddress]:
    """PCI addresses, of one function and of all."""
    functions = st.one_of(st.integers(0, 7).map(str), st.just("*"))
    return st.builds(
        lambda domain, bus, device, function: model.PciAddress(f"{domain:04x}:{bus:02x}:{device:02x}.{function}"),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFF),
        st.integers(0, 0x1F),
        functions,
    )


def members(kind: type[Enum]) -> SearchStrategy[Any]:
    """Members of an enumeration."""
    return st.sampled_from(list(kind))


def uuids() -> SearchStrategy[uuid.UUID]:
    """Uuids other than the nil uuid, which libxl treats as unset."""
    return st.integers(1, 2**128 - 1).map(lambda number: uuid.UUID(int=number))


def some(strategy: SearchStrategy[Any], most: int = 3) -> SearchStrategy[Any]:
    """Tuples of a few items."""
    return st.lists(strategy, max_size=most).map(tuple)


def part(kind: type[_P], fields: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[_P]:
    """Parts with some of their fields set."""
    needed = {name: strategy for name, strategy in fields.items() if name == "name" and kind is DomainConfig}
    rest = {name: strategy for name, strategy in fields.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional=rest).map(lambda said: kind(**said))


_BACKEND: dict[str, SearchStrategy[Any]] = {"backend": names(), "backend_domid": domids}
_DEVICE: dict[str, SearchStrategy[Any]] = {**_BACKEND, "devid": devids}

_SETTINGS: dict[type[Part], dict[str, SearchStrategy[Any]]] = {
    model.DiskColo: {
        "enable": flags,
        "restore_enable": flags,
        "host": names(),
        "port": ports,
        "export": names(),
        "active_disk": paths(),
        "hidden_disk": paths(),
    },
    model.Rate: {"bytes_per_interval": st.integers(1, 2**40), "interval_usecs": st.integers(1, 10_000_000)},
    model.Vnc: {
        "enable": flags,
        "listen": st.sampled_from(["127.0.0.1", "192.0.2.1", "::1", "localhost:3"]),
        "passwd": names(),
        "display": st.integers(0, 99),
        "unused": flags,
    },
    model.Sdl: {"enable": flags, "opengl": flags, "display": st.just(":0.0"), "xauthority": paths()},
    model.Spice: {
        "enable": flags,
        "host": names(),
        "port": ports,
        "tls_port": ports,
        "disable_ticketing": flags,
        "passwd": texts(),
        "agent_mouse": flags,
        "vdagent": flags,
        "clipboard_sharing": flags,
        "usbredirection": st.integers(0, 4),
        "image_compression": st.sampled_from(["auto_glz", "off"]),
        "streaming_video": st.sampled_from(["filter", "all", "off"]),
    },
    model.Connector: {"unique_id": names(), "width": uint32, "height": uint32},
    model.VsndParams: {
        "sample_rates": some(st.integers(1, 192000)),
        "sample_formats": some(members(model.VsndPcmFormat)),
        "channels_min": uint32,
        "channels_max": uint32,
        "buffer_size": uint32,
    },
    model.Scheduler: {
        "weight": st.integers(1, 65535),
        "cap": st.integers(0, 800),
        "period": st.integers(0, INT_MAX),
        "budget": st.integers(0, INT_MAX),
        "extratime": st.integers(0, 1),
        "slice": st.integers(0, INT_MAX),
        "latency": st.integers(0, INT_MAX),
        "kind": members(model.SchedulerKind),
    },
    model.Smbios: {"type": members(model.SmbiosType), "value": texts()},
    model.CpuidLeaf: {
        "leaf": st.integers(0, UINT32_MAX - 1),
        "subleaf": st.integers(0, 31),
        **{register: st.text("01xks", min_size=32, max_size=32) for register in ("eax", "ebx", "ecx", "edx")},
    },
    model.MsrPolicy: {"index": st.integers(0, UINT32_MAX - 1), "policy": st.text("01xks", min_size=64, max_size=64)},
    model.DeviceModel: {
        "version": members(model.DeviceModelVersion),
        "path": paths(),
        "user": names(),
        "restrict": flags,
        "args": some(texts()),
        "args_pv": some(texts()),
        "args_hvm": some(texts()),
    },
    model.Stubdomain: {
        "enable": flags,
        "memory": mebibytes(),
        "kernel": paths(),
        "cmdline": texts(),
        "ramdisk": paths(),
        "seclabel": names(),
        "ssidref": uint32,
    },
    model.Arm: {
        "gic_version": members(model.GicVersion),
        "vuart": members(model.VuartType),
        "sve": members(model.SveType),
        "nr_spis": st.integers(0, 960),
        "sci": members(model.ArmSciType),
    },
    model.PvShim: {"enable": flags, "path": paths(), "cmdline": texts(), "extra": texts()},
    model.Rdm: {"strategy": members(model.RdmReserveStrategy), "policy": members(model.RdmReservePolicy)},
    model.RdmRegion: {"start": uint64, "size": uint64, "policy": members(model.RdmReservePolicy)},
    model.IoportRange: {"first": ports, "number": st.integers(1, 65536)},
    model.IomemRange: {"start": uint64, "number": st.integers(1, 2**32), "gfn": uint64},
    model.Viridian: {
        "defaults": flags,
        "enable": st.one_of(st.frozensets(st.integers(0, 12)), st.just("all")),
        "disable": st.frozensets(st.integers(0, 12)),
    },
    model.Disk: {
        "target": paths(),
        "vdev": st.sampled_from(["xvda", "xvdb", "hda", "hdc", "sda", "d0p0"]),
        "format": members(model.DiskFormat),
        "readonly": flags,
        "cdrom": flags,
        "removable": flags,
        "backendtype": members(model.DiskBackend),
        "script": names(),
        "direct_io_safe": flags,
        "discard": flags,
        "specification": members(model.DiskSpecification),
        "transport": members(model.VirtioTransport),
        "trusted": flags,
        "grant_usage": flags,
        "irq": uint32,
        "base": uint64,
        **_BACKEND,
    },
    model.Vif: {
        "bridge": names(),
        "mac": macs(),
        "model": names(),
        "type": members(model.NicType),
        "ip": st.sampled_from(["192.0.2.7", "192.0.2.7 2001:db8::7"]),
        "script": paths(),
        "vifname": names(),
        "mtu": st.integers(1, 65535),
        "vlan": st.sampled_from(["10", "10p/20"]),
        "gatewaydev": names(),
        "trusted": flags,
        "forwarddev": names(),
        "colo": st.dictionaries(st.sampled_from(model.COLO_KEYS), names(), max_size=3),
        **_DEVICE,
    },
    model.Pci: {
        "address": pci_addresses(),
        "name": names(),
        "vslot": st.integers(0, 31),
        "permissive": flags,
        "msitranslate": flags,
        "seize": flags,
        "power_mgmt": flags,
        "rdm_policy": members(model.RdmReservePolicy),
    },
    model.UsbCtrl: {
        "type": members(model.UsbCtrlType),
        "version": st.integers(1, 3),
        "ports": st.integers(1, 31),
        **_DEVICE,
    },
    model.UsbDev: {
        "hostbus": st.integers(0, 255),
        "hostaddr": st.integers(0, 255),
        "controller": st.integers(0, 9),
        "port": st.integers(0, 31),
    },
    model.Vkb: {
        "backend_type": members(model.VkbBackend),
        "unique_id": names(),
        "feature_disable_keyboard": flags,
        "feature_disable_pointer": flags,
        "feature_abs_pointer": flags,
        "feature_raw_pointer": flags,
        "feature_multi_touch": flags,
        "width": uint32,
        "height": uint32,
        "multi_touch_width": uint32,
        "multi_touch_height": uint32,
        "multi_touch_num_contacts": uint32,
        **_DEVICE,
    },
    model.Vtpm: {"uuid": uuids(), **_DEVICE},
    model.P9: {
        "tag": names(),
        "path": paths(),
        "security_model": st.just("none"),
        "type": members(model.P9Type),
        "max_space": st.integers(0, INT_MAX),
        "max_files": st.integers(0, INT_MAX),
        "max_open_files": st.integers(0, INT_MAX),
        "auto_delete": flags,
        **_DEVICE,
    },
    model.Pvcalls: _DEVICE,
    model.Virtio: {
        "type": st.sampled_from(["virtio,device", "virtio,device22"]),
        "transport": members(model.VirtioTransport),
        "grant_usage": flags,
        "irq": uint32,
        "base": uint64,
        **_DEVICE,
    },
}
"""Strategies for the fields of parts that do not contain other parts."""


def _compose() -> None:
    """Add the parts that contain other parts."""

    def of(kind: type[Part]) -> SearchStrategy[Any]:
        return part(kind, _SETTINGS[kind])

    _SETTINGS[model.Disk]["colo"] = of(model.DiskColo)
    _SETTINGS[model.Vif]["rate"] = of(model.Rate)
    _SETTINGS[model.Vfb] = {
        "vnc": of(model.Vnc),
        "sdl": of(model.Sdl),
        "keymap": names(),
        "keyboard": flags,
        **_DEVICE,
    }
    _SETTINGS[model.Vdispl] = {"connectors": some(of(model.Connector)), "be_alloc": flags, **_DEVICE}
    params = of(model.VsndParams)
    _SETTINGS[model.VsndStream] = {"type": members(model.VsndStreamType), "unique_id": names(), "params": params}
    _SETTINGS[model.VsndPcm] = {"name": names(), "streams": some(of(model.VsndStream), 2), "params": params}
    _SETTINGS[model.Vsnd] = {
        "short_name": names(),
        "long_name": names(),
        "pcms": some(of(model.VsndPcm), 2),
        "params": params,
        **_DEVICE,
    }
    _SETTINGS[model.CpuidPolicy] = {"leaves": some(of(model.CpuidLeaf)), "msrs": some(of(model.MsrPolicy), 2)}
    _SETTINGS[model.VNode] = {
        "vcpus": cpu_sets(resolved=True),
        "size": mebibytes(),
        "distances": some(st.integers(0, 254)),
        "pnode": st.integers(0, 3),
    }


_compose()


def channels() -> SearchStrategy[model.Channel]:
    """Channels; only sockets have a path."""
    fields: dict[str, SearchStrategy[Any]] = {"name": names(), **_DEVICE}
    pty = st.sampled_from([None, model.ChannelConnection.PTY])
    return st.one_of(
        part(model.Channel, {**fields, "connection": pty}),
        part(model.Channel, {**fields, "path": paths()}).map(lambda channel: channel.replace(connection="socket")),
    )


def pcis() -> SearchStrategy[model.Pci]:
    """PCI devices, by address or by name."""
    fields = _SETTINGS[model.Pci]
    rest = {name: said for name, said in fields.items() if name not in ("address", "name")}
    which = st.one_of(st.fixed_dictionaries({"address": fields["address"]}), st.fixed_dictionaries({"name": names()}))
    return st.builds(lambda one, other: model.Pci(**one, **other), which, st.fixed_dictionaries({}, optional=rest))


def devices(kind: type[_P]) -> SearchStrategy[_P]:
    """Parts of one kind, such as `Disk`, `Vif`, `Scheduler`."""
    if kind is model.Channel:
        return channels()  # type: ignore[return-value]  # the kind is a Channel
    if kind is model.Pci:
        return pcis()  # type: ignore[return-value]  # the kind is a Pci
    return part(kind, _SETTINGS[kind])


def fields_of(kind: type[Part]) -> frozenset[str]:
    """The fields of a kind of part for which there are strategies."""
    if kind is DomainConfig:
        return frozenset(_domain_fields(resolved=False))
    if kind is model.Channel:
        return frozenset({"name", "connection", "path", *_DEVICE})
    return frozenset(_SETTINGS[kind])


def _domain_fields(*, resolved: bool) -> dict[str, SearchStrategy[Any]]:
    generation = uuids() if resolved else st.one_of(uuids(), st.just("generate"))
    words = st.dictionaries(names(), names(), max_size=2)
    flagged = (
        "driver_domain bootloader_restrict numa_placement nestedhvm hap oos altp2mhvm msr_relaxed vpmu acpi acpi_s3 "
        "acpi_s4 acpi_laptop_slate apic pae nx hpet vpt_align localtime xen_platform_pci xen_platform_pci_bar_uc "
        "hvm_pirq e820_host trap_unmapped_accesses nographic gfx_passthru usb vkb_device claim_mode "
        "run_hotplug_scripts nomigrate xend_suspend_evtchn_compat"
    )
    amounts = "memory maxmem videoram shadow_memory iommu_memory mmio_hole rdm_mem_boundary slack_memory"
    files = "kernel ramdisk bootloader device_tree bios_path_override firmware_override smbios_firmware acpi_firmware"
    words_only = "pool seclabel init_seclabel bootloader_user keymap soundhw blkdev_start"
    chosen: dict[str, type[Enum]] = {
        "type": model.DomainType,
        "bios": model.BiosType,
        "tsc_mode": model.TscMode,
        "timer_mode": model.TimerMode,
        "altp2m": model.Altp2mMode,
        "vendor_device": model.VendorDevice,
        "tee": model.TeeType,
        "hdtype": model.HdType,
        "vga": model.VgaInterfaceType,
        "gfx_passthru_kind": model.GfxPassthruKind,
        "passthrough": model.Passthrough,
        **{f"on_{what}": model.ActionOnShutdown for what in ("poweroff", "reboot", "watchdog", "crash", "soft_reset")},
    }
    parts: dict[str, type[Part]] = {
        "scheduler": model.Scheduler,
        "cpuid": model.CpuidPolicy,
        "viridian": model.Viridian,
        "pvshim": model.PvShim,
        "arm": model.Arm,
        "vnc": model.Vnc,
        "sdl": model.Sdl,
        "spice": model.Spice,
        "device_model": model.DeviceModel,
        "stubdomain": model.Stubdomain,
        "rdm": model.Rdm,
    }
    lists: dict[str, type[Part]] = {
        "smbios": model.Smbios,
        "vnuma": model.VNode,
        "disks": model.Disk,
        "vifs": model.Vif,
        "vfbs": model.Vfb,
        "vkbs": model.Vkb,
        "pcis": model.Pci,
        "usbctrls": model.UsbCtrl,
        "usbdevs": model.UsbDev,
        "channels": model.Channel,
        "p9s": model.P9,
        "pvcalls": model.Pvcalls,
        "vtpms": model.Vtpm,
        "vdispls": model.Vdispl,
        "vsnds": model.Vsnd,
        "virtios": model.Virtio,
        "rdms": model.RdmRegion,
        "ioports": model.IoportRange,
        "iomem": model.IomemRange,
    }
    return {
        "name": names(),
        "uuid": uuids(),
        "domid": st.integers(1, 0x7FEF),
        "poolid": uint32,
        "ssidref": uint32,
        "exec_ssidref": uint32,
        "xsdata": words,
        "platformdata": words,
        "cmdline": texts(),
        "bootloader_args": some(texts()),
        "boot": st.text("acdn", min_size=1, max_size=4),
        "vcpus": st.integers(1, 6),
        "maxvcpus": st.integers(1, 8),
        "cpus": affinities(resolved=resolved),
        "cpus_soft": affinities(resolved=resolved),
        "cpumap": cpu_sets(resolved=resolved),
        "nodemap": cpu_sets(resolved=True),
        "llc_colors": some(uint32),
        "altp2m_count": st.integers(0, 65535),
        "mca_caps": st.sampled_from([(), ("lmce",)]),
        "vmtrace_buf_kb": st.integers(0, INT_MAX),
        "rtc_timeoffset": st.integers(-INT_MAX - 1, INT_MAX),
        "timeoffset": st.integers(-9999, 9999).map(str),
        "ms_vm_genid": generation,
        "serial": some(st.sampled_from(["pty", "file:/log", "null", "/dev/ttyS0"])),
        "usbversion": st.integers(1, 3),
        "usbdevice": some(st.sampled_from(["tablet", "mouse", "host:1.3"])),
        "max_event_channels": st.integers(1, UINT32_MAX),
        "max_grant_frames": st.integers(0, INT_MAX),
        "max_maptrack_frames": st.integers(0, INT_MAX),
        "max_grant_version": st.integers(0, INT_MAX),
        "xenstore_feature_mask": st.integers(0, UINT32_MAX - 1),
        "xenstore_quota": st.dictionaries(names(), uint32, max_size=2),
        "dtdevs": some(paths()),
        "irqs": some(uint32),
        **dict.fromkeys(flagged.split(), flags),
        **{name: mebibytes() for name in amounts.split()},
        **{name: paths() for name in files.split()},
        **{name: names() for name in words_only.split()},
        **{name: members(kind) for name, kind in chosen.items()},
        **{name: devices(kind) for name, kind in parts.items()},
        **{name: some(devices(kind)) for name, kind in lists.items()},
    }


def domain_configs(*, resolved: bool = False) -> SearchStrategy[DomainConfig]:
    """Configurations of any guest type, with the fields that the type has.

    Args:
        resolved: Leave out values that depend on the host or the moment: CPU sets such as ``all``, and
            ``ms_vm_genid="generate"``.
    """
    fields = _domain_fields(resolved=resolved)
    known = settings_of(DomainConfig)

    def of(guest: model.DomainType) -> SearchStrategy[DomainConfig]:
        fitting = {name: said for name, said in fields.items() if not known[name].guests or guest in known[name].guests}
        return part(DomainConfig, fitting | {"type": st.just(guest)}).map(lambda config: config.replace(type=guest))

    return members(model.DomainType).flatmap(of)


def creatable_configs(*, most_memory: int = 64) -> SearchStrategy[DomainConfig]:
    """Small valid configurations that any host can create.

    Args:
        most_memory: The most memory of a domain, in MiB; 10 or more.
    """
    vdevs = st.lists(st.sampled_from(["xvda", "xvdb", "xvdc"]), unique=True, max_size=2)
    disks = vdevs.flatmap(lambda chosen: st.tuples(*(st.builds(_disk, paths(), st.just(vdev)) for vdev in chosen)))
    vifs = st.lists(macs(), unique=True, max_size=2).map(lambda chosen: tuple(model.Vif(mac=mac) for mac in chosen))
    return st.builds(
        lambda name, guest, memory, room, vcpus, more, disks, vifs: DomainConfig(
            f"vm-{name}",
            type=guest,
            kernel=None if guest is model.DomainType.HVM else "/boot/vmlinuz",
            memory=memory,
            maxmem=memory + room,
            vcpus=vcpus,
            maxvcpus=vcpus + more,
            disks=disks,
            vifs=vifs,
        ),
        names(),
        members(model.DomainType),
        st.integers(10, most_memory),  # what an HVM guest needs at least
        st.integers(0, 8),
        st.integers(1, 3),
        st.integers(0, 2),
        disks,
        vifs,
    )


def _disk(target: str, vdev: str) -> model.Disk:
    return model.Disk(target, vdev=vdev)
