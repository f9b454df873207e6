"""The settings of xl itself (``/etc/xen/xl.conf``), and what they make of a configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pyxen.config import CpuSet, DomainConfig, DomainType, Vif
from pyxen.errors import InvalidArgument, ParseError
from pyxen.losses import OnLoss, report
from pyxen.records.base import Record
from pyxen.xlcfg.cpus import read_hard_cpus
from pyxen.xlcfg.settings import read_settings
from pyxen.xlcfg.similar import nearest
from pyxen.xlcfg.source import Source

__all__ = ["XL_CONF", "XlConf"]

XL_CONF: Final = "/etc/xen/xl.conf"
"""Where xl looks for its settings."""

_RANDOM_DOMID: Final = 0xFFFFFFFE
_INT_MAX: Final = 2**31 - 1
_SWITCH: Final = {"on": True, "1": True, "off": False, "0": False, "auto": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class XlConf(Record):
    """The settings of xl itself, as in ``/etc/xen/xl.conf`` (xl.conf(5), Xen 4.17 to 4.22).

    ``pyxen.connect(xl_conf=XlConf.load())`` opens a host that honours them as xl does. `applied` has what that means
    for a configuration.
    """

    autoballoon: bool | None = None
    """Whether dom0 gives up memory for new domains; None is ``auto``: unless ``dom0_mem`` is on Xen's command line."""
    claim_mode: bool = True
    """Whether Xen reserves all memory of a new domain when its build begins."""
    domid_policy: Literal["xen", "random"] = "xen"
    """Where domids come from: ascending numbers, or random ones."""
    vif_script: str | None = None
    """``vif.default.script``, formerly ``vifscript``: hotplug script of vifs that name none."""
    vif_bridge: str | None = None
    """``vif.default.bridge``, formerly ``defaultbridge``: bridge of vifs that name none."""
    vif_gatewaydev: str | None = None
    """``vif.default.gatewaydev``: gateway device of vifs that name none."""
    vif_backend: str | None = None
    """``vif.default.backend``: backend domain of vifs that name none."""
    max_grant_frames: int | None = None
    """Pages of grant entries of domains that do not set them."""
    max_maptrack_frames: int | None = None
    """Pages of entries for foreign grants of domains that do not set them."""
    max_grant_version: int | None = None
    """Newest version of the grant table of domains that do not set it."""
    vm_cpumask: CpuSet | None = None
    """``vm.cpumask``: CPUs that all guests are confined to."""
    vm_hvm_cpumask: CpuSet | None = None
    """``vm.hvm.cpumask``: CPUs that HVM and PVH guests are confined to as well."""
    vm_pv_cpumask: CpuSet | None = None
    """``vm.pv.cpumask``: CPUs that PV guests are confined to as well."""
    bootloader_restrict: bool | None = None
    """Whether bootloaders run with few rights, for domains that do not say. Xen 4.18."""
    run_hotplug_scripts: bool = True
    """Whether libxl runs hotplug scripts itself."""
    blkdev_start: str | None = None
    """First name for disks that the toolstack attaches to dom0."""
    lockfile: str | None = None
    """File that xl locks while it creates, restores or receives a domain for which dom0 may have to give up memory;
    None is ``/var/lock/xl``."""
    output_format: Literal["json", "sxp"] = "json"
    """Format in which the xl command prints configurations. The pyxen command prints JSON, and warns of ``sxp``."""
    remus_netbufscript: str | None = None
    """``remus.default.netbufscript``: default of `RemusOptions.netbufscript`."""
    colo_proxyscript: str | None = None
    """``colo.default.proxyscript``: the script of COLO, for the xl command alone: pyxen has no COLO."""

    @classmethod
    def load(cls, path: str | os.PathLike[str] = XL_CONF, *, on_loss: OnLoss = "warn") -> Self:
        """Read the settings from a file; arguments and errors as `loads`, and OSError."""
        with open(path, "rb") as file:
            return cls.loads(file.read(), on_loss=on_loss, source=os.fspath(path))

    @classmethod
    def loads(cls, text: str | bytes, *, on_loss: OnLoss = "warn", source: str | None = None) -> Self:
        """Read the settings from a text, whose grammar is that of xl.cfg.

        Args:
            text: The text; bytes are UTF-8.
            on_loss: What to do about what xl passes over, such as an unknown key: ``"warn"``, ``"raise"`` or
                ``"ignore"``.
            source: Name of the file, for messages.

        Raises:
            ParseError: xl would refuse it, or a CPU mask is not valid; with line and column. Of a wrong mask xl uses
                a part, without a word.
            LossyConversion: xl would pass over something, and ``on_loss`` is ``"raise"``.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        try:
            read = Source(read_settings(text))
            found = cls(**_read(read))
        except ParseError as error:
            error.source = source
            raise
        report(read.losses, on_loss, source)
        return found

    def has_masks(self, guest: DomainType) -> bool:
        """Tell whether guests of a type are confined to some CPUs."""
        return bool(self._masks(guest))

    def applied(
        self, config: DomainConfig, cpus: Iterable[int] = (), nodes: Mapping[int, Iterable[int]] | None = None
    ) -> DomainConfig:
        """Return the configuration of a domain as ``xl create`` makes it of these settings.

        What the configuration says itself stays, except that its vCPUs are confined to the masks; for xl that is so
        only if it says how many vCPUs there are, or pins them.

        Args:
            config: The configuration.
            cpus: The CPUs of the host; needed for masks only.
            nodes: The CPUs of each NUMA node of the host, by its number.

        Raises:
            InvalidArgument: A vCPU has no CPU left within the masks.
        """
        release = {} if self.bootloader_restrict is None else {"bootloader_restrict": self.bootloader_restrict}
        settings = {
            "claim_mode": self.claim_mode,
            "run_hotplug_scripts": None if self.run_hotplug_scripts else False,
            "blkdev_start": self.blkdev_start,
            "domid": _RANDOM_DOMID if self.domid_policy == "random" else None,
            "max_grant_frames": self.max_grant_frames,
            "max_maptrack_frames": self.max_maptrack_frames,
            "max_grant_version": self.max_grant_version,
            **({} if config.type is DomainType.HVM else release),
        }
        missing = {name: value for name, value in settings.items() if getattr(config, name) is None}
        changed = self.with_vifs(config).replace(**missing)
        if self.has_masks(config.type):
            changed = changed.replace(cpus=self._affinity(config, tuple(cpus), nodes or {}))
        return changed

    def with_vifs(self, config: DomainConfig) -> DomainConfig:
        """Return a configuration whose vifs have the settings that they do not say themselves; see `vif`."""
        return config.replace(vifs=[self.vif(vif) for vif in config.vifs])

    def vif(self, vif: Vif) -> Vif:
        """Return a vif with the settings of ``vif.default`` that it does not say itself."""
        settings = {"script": self.vif_script, "bridge": self.vif_bridge, "gatewaydev": self.vif_gatewaydev}
        if not vif.backend_domid:
            settings["backend"] = self.vif_backend
        return vif.replace(**{name: value for name, value in settings.items() if getattr(vif, name) is None})

    def masked(
        self, guest: DomainType, wanted: CpuSet, cpus: Iterable[int], nodes: Mapping[int, Iterable[int]]
    ) -> CpuSet:
        """Return the CPUs of a set that the masks leave for a guest.

        Args:
            guest: Its type.
            wanted: The set.
            cpus: The CPUs of the host.
            nodes: The CPUs of each NUMA node of the host, by its number.

        Raises:
            InvalidArgument: None are left.
        """
        everything = tuple(cpus)
        left = set(wanted.resolve(everything, nodes))
        for mask in self._masks(guest):
            left &= set(mask.resolve(everything, nodes))
        if not left:
            masks = " and ".join(map(str, self._masks(guest)))
            raise InvalidArgument(f"cpus={wanted}: xl.conf leaves none of these CPUs: it confines guests to {masks}")
        return CpuSet(left)

    def _masks(self, guest: DomainType) -> list[CpuSet]:
        own = self.vm_pv_cpumask if guest is DomainType.PV else self.vm_hvm_cpumask
        return [mask for mask in (self.vm_cpumask, own) if mask is not None]

    def _affinity(
        self, config: DomainConfig, cpus: tuple[int, ...], nodes: Mapping[int, Iterable[int]]
    ) -> CpuSet | list[CpuSet] | None:
        if config.cpus is None:
            left = self.masked(config.type, CpuSet("all"), cpus, nodes)
            return None if left == CpuSet(cpus) else left
        if isinstance(config.cpus, CpuSet):
            return self.masked(config.type, config.cpus, cpus, nodes)
        return [self.masked(config.type, one, cpus, nodes) for one in config.cpus]


def _read(source: Source) -> dict[str, Any]:
    """Return the fields of an `XlConf` that a text sets."""
    fields: dict[str, Any] = {}
    for key in source.settings:
        if key not in _KEYS:
            meant = nearest(key, _KEYS)
            hint = f"; did you mean {meant}?" if meant else ""
            source.note(key, f"xl.conf has no such key, and xl ignores it without a warning{hint}", code="unknown-key")
    for key, (field, read) in _KEYS.items():
        value = read(source, key) if key in source.settings else None
        if value is not None:
            fields[field] = None if value is _AUTO else value
    return fields


_AUTO: Final = object()
"""What ``autoballoon="auto"`` is read as; None is what xl ignores."""


def _text(source: Source, key: str) -> str | None:
    return source.string(key)


def _boolean(source: Source, key: str) -> bool | None:
    return source.boolean(key)


def _switch(source: Source, key: str) -> object:
    value = source.string(key)
    if value is None or value not in _SWITCH:
        _ignored(source, key, value, "on, off or auto")
        return None
    return _AUTO if _SWITCH[value] is None else _SWITCH[value]


def _one_of(*names: str) -> Callable[[Source, str], str | None]:
    def read(source: Source, key: str) -> str | None:
        value = source.string(key)
        if value in names:
            return value
        _ignored(source, key, value, " or ".join(names))
        return None

    return read


def _ignored(source: Source, key: str, value: str | None, choice: str) -> None:
    if value is not None:  # a list has been noted already
        source.note(key, f"xl ignores it: it can be {choice}")


def _bounded(source: Source, key: str) -> int:
    number = source.settings.integer(key)
    if number is None or not 0 <= number <= _INT_MAX:
        raise source.error(key, f"a number from 0 to {_INT_MAX} is needed")
    return number


def _mask(source: Source, key: str) -> CpuSet | None:
    text = source.string(key)
    return None if text is None else source.read(key, lambda: read_hard_cpus(text))


_KEYS: Final[dict[str, tuple[str, Callable[[Source, str], Any]]]] = {
    "autoballoon": ("autoballoon", _switch),
    "run_hotplug_scripts": ("run_hotplug_scripts", _boolean),
    "lockfile": ("lockfile", _text),
    "vifscript": ("vif_script", _text),
    "vif.default.script": ("vif_script", _text),
    "defaultbridge": ("vif_bridge", _text),
    "vif.default.bridge": ("vif_bridge", _text),
    "vif.default.gatewaydev": ("vif_gatewaydev", _text),
    "vif.default.backend": ("vif_backend", _text),
    "output_format": ("output_format", _one_of("json", "sxp")),
    "blkdev_start": ("blkdev_start", _text),
    "claim_mode": ("claim_mode", _boolean),
    "remus.default.netbufscript": ("remus_netbufscript", _text),
    "colo.default.proxyscript": ("colo_proxyscript", _text),
    "max_grant_frames": ("max_grant_frames", _bounded),
    "max_maptrack_frames": ("max_maptrack_frames", _bounded),
    "max_grant_version": ("max_grant_version", _bounded),
    "vm.cpumask": ("vm_cpumask", _mask),
    "vm.hvm.cpumask": ("vm_hvm_cpumask", _mask),
    "vm.pv.cpumask": ("vm_pv_cpumask", _mask),
    "domid_policy": ("domid_policy", _one_of("xen", "random")),
    "bootloader_restrict": ("bootloader_restrict", _boolean),
}
"""The keys, in the order in which a later one overrides an earlier one: the field that each sets, and its reader."""
