"""The conversion of whole configurations to and from ``libxl_domain_config``."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config.domain import DomainConfig
from pyxen.config.enums import DomainType
from pyxen.libxljson import device_tables
from pyxen.libxljson.structs import BUILD_INFO, BY_TYPE, CONFIG, CREATE_INFO
from pyxen.libxljson.table import Items, assign
from pyxen.libxljson.value_kinds import BITMAP, DEFBOOL, MEMORY, OMIT, TEXT, Number, Place

__all__ = ["decode", "encode"]

_VKBS: Final = Items(device_tables.VKB)
_CPUS: Final = ("max_vcpus", "avail_vcpus", "vcpu_hard_affinity", "vcpu_soft_affinity", "numa_placement", "max_memkb")
_NO_TYPE: Final = "invalid"
_UNIONS: Final = tuple(f"type.{kind}" for kind in (*DomainType, _NO_TYPE))


def encode(config: DomainConfig, place: Place) -> dict[str, Any]:
    """Return a configuration as a libxl_domain_config; losses go to `place`."""
    create = CREATE_INFO.encode(config, place)
    build = _cpus(config, place) | BUILD_INFO.encode(config, place)
    build |= _labels(config, create)
    for node in build.get("vnuma_nodes", ()):
        # xl always writes as many distances as there are nodes, and libxl relies on it.
        said = list(node.get("distances", []))
        while said and not said[-1]:
            said.pop()
        node["distances"] = said + [0] * (len(config.vnuma) - len(said))
    build[f"type.{config.type}"] = BY_TYPE[config.type].encode(config, place)
    _lose_other_types(config, place)
    document = {"c_info": create, "b_info": build} | CONFIG.encode(config, place)
    vkbs = [{"devid": index} for index in range(sum(vfb.keyboard for vfb in config.vfbs))]
    for vkb in [] if not config.vkbs else _VKBS.encode(config.vkbs, place.at("vkbs")):
        vkbs.append({"devid": len(vkbs)} | vkb)
    return document | ({"vkbs": vkbs} if vkbs else {})


def _cpus(config: DomainConfig, place: Place) -> dict[str, Any]:
    vcpus = config.effective_maxvcpus
    said: dict[str, Any] = {"max_vcpus": vcpus, "avail_vcpus": list(range(config.vcpus))}
    for key, name in (("vcpu_hard_affinity", "cpus"), ("vcpu_soft_affinity", "cpus_soft")):
        affinity = getattr(config, name)
        if affinity is None:
            continue
        one_each = affinity[:vcpus] if isinstance(affinity, tuple) else (affinity,) * vcpus
        losses = len(place.losses)
        bitmaps = [BITMAP.encode(cpus, place.at(name)) if cpus else [] for cpus in one_each]
        if len(place.losses) == losses:
            said[key] = bitmaps
        else:
            del place.losses[losses + 1 :]  # one loss per field is enough
    if config.effective_numa_placement is not None:
        said["numa_placement"] = str(config.effective_numa_placement)
    if config.effective_maxmem is not None:
        said["max_memkb"] = MEMORY.encode(config.effective_maxmem, place)
    return said


def _labels(config: DomainConfig, create: dict[str, Any]) -> dict[str, Any]:
    """Write the security labels as xl does: a single label is the domain's, under whichever name it was given."""
    first = config.seclabel if config.init_seclabel is None else config.init_seclabel
    if first is not None:
        create["ssid_label"] = first
    if config.init_seclabel is not None and config.seclabel is not None:
        return {"exec_ssid_label": config.seclabel}
    return {}


def _lose_other_types(config: DomainConfig, place: Place) -> None:
    for kind, table in BY_TYPE.items():
        if kind is not config.type:
            reason = f"{kind} guests have it, but {config.type} guests do not"
            for row, value in table.said(config):
                if row.kind.encode(value, Place()) is not OMIT:
                    place.at(row.field).lose(value, reason)


def decode(document: Any, place: Place) -> DomainConfig:
    """Return the configuration in a libxl_domain_config; losses go to `place`.

    Raises:
        ConfigError: A value is not valid.
    """
    if not isinstance(document, dict):
        raise place.wrong(f"a configuration is an object, not {place.shown(document)}")
    fields = CONFIG.decode(document, place, ("c_info", "b_info", "vkbs"))
    create = document.get("c_info", {})
    build = document.get("b_info", {})
    CREATE_INFO.decode(create, place.at("c_info"), ("ssid_label",), into=fields)
    at = place.at("b_info")
    BUILD_INFO.decode(build, at, ("exec_ssid_label", *_CPUS, *_UNIONS), into=fields)
    _decode_union(build, fields, at)
    _decode_labels(create, build, fields, place)
    _decode_cpus(build, fields, at)
    _decode_keyboards(document.get("vkbs", []), fields, place.at("vkbs"))
    if not fields.get("name"):
        raise place.at("c_info").at("name").wrong("a domain needs a name")
    return DomainConfig.from_dict(fields).canonical()


def _decode_union(build: dict[str, Any], fields: dict[str, Any], place: Place) -> None:
    said = [key for key in _UNIONS if key in build]
    if len(said) > 1:
        raise place.wrong(f"{' and '.join(said)} cannot both be set")
    for key in said:
        kind = key.removeprefix("type.")
        fields.setdefault("type", kind)
        if fields["type"] != kind:
            raise place.at(key).wrong(f"the domain's type is {fields['type']} in c_info")
        union = build[key]
        for one, many in (("serial", "serial_list"), ("usbdevice", "usbdevice_list")):
            if isinstance(union, dict) and one in union and many in union:
                raise place.at(key).wrong(f"{one} and {many} cannot both be set")
        if kind != _NO_TYPE:
            BY_TYPE[DomainType(kind)].decode(union, place.at(key), into=fields)


def _decode_labels(create: dict[str, Any], build: dict[str, Any], fields: dict[str, Any], place: Place) -> None:
    first = TEXT.decode(create.get("ssid_label"), place.at("c_info.ssid_label"))
    at = place.at("b_info.exec_ssid_label")
    second = TEXT.decode(build.get("exec_ssid_label"), at)
    if second is None:
        fields["seclabel"] = first
    elif first is None:
        at.lose(second, "the model has it only together with a label for building the domain")
    else:
        fields |= {"init_seclabel": first, "seclabel": second}


def _decode_cpus(build: dict[str, Any], fields: dict[str, Any], place: Place) -> None:
    most = Number(default=None).decode(build.get("max_vcpus", 0), place.at("max_vcpus"))
    assign(fields, "maxvcpus", most)
    if "avail_vcpus" in build:
        at = place.at("avail_vcpus")
        available = BITMAP.decode(build["avail_vcpus"], at)
        if available.cpus != tuple(range(len(available))):
            at.lose(available, f"the model can only have the first {len(available)} vCPUs online")
        fields["vcpus"] = max(len(available), 1)
    for key, name in (("vcpu_hard_affinity", "cpus"), ("vcpu_soft_affinity", "cpus_soft")):
        at = place.at(key)
        bitmaps = build.get(key, [])
        if not isinstance(bitmaps, list):
            raise at.wrong(f"takes a list of lists, not {at.shown(bitmaps)}")
        affinity = tuple(BITMAP.decode(bitmap, at.item(index)) for index, bitmap in enumerate(bitmaps))
        if affinity:
            together = len(affinity) == (most or 1) and len(set(affinity)) == 1
            fields[name] = affinity[0] if together else affinity
    placed = any(node.get("pnode") is not None for node in fields.get("vnuma", ()))
    concluded = placed or isinstance(fields.get("cpus"), tuple) or "cpus_soft" in fields
    placement = DEFBOOL.decode(build.get("numa_placement", "<default>"), place.at("numa_placement"))
    fields["numa_placement"] = True if placement is None and concluded else placement
    assign(fields, "maxmem", MEMORY.decode(build.get("max_memkb", -1), place.at("max_memkb")))


def _decode_keyboards(vkbs: Any, fields: dict[str, Any], place: Place) -> None:
    """Read every keyboard as a separate device; the canonical form assigns them to framebuffers."""
    for vfb in fields.get("vfbs", ()):
        vfb["keyboard"] = False
    fields["vkbs"] = _VKBS.decode(vkbs, place)
