"""Network interfaces (xl.cfg ``vif``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Self

from pyxen._printable import quoted
from pyxen.config.base import Coerced, Refused, setting
from pyxen.config.checks import INT_MAX, filename, flag, integer, member, pairs, text, value_of
from pyxen.config.device import Device
from pyxen.config.enum_names import NicTypeName
from pyxen.config.enums import NicType
from pyxen.config.rate import Rate, as_rate

__all__ = ["COLO_KEYS", "Mac", "Vif"]

_MAC = re.compile(r"([0-9a-fA-F]{1,2}[:-]){5}[0-9a-fA-F]{1,2}")
_CANONICAL = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


class Mac(str):
    """A MAC address: six octets in hexadecimal, kept in lower case with colons."""

    __slots__ = ()

    def __new__(cls, address: str) -> Self:
        """Read an address.

        Args:
            address: Six octets, separated by colons or dashes.

        Raises:
            ValueError: It is not a MAC address.
        """
        if _CANONICAL.fullmatch(address):
            return super().__new__(cls, address)
        if not _MAC.fullmatch(address):
            raise ValueError(f"{quoted(address)} is not a MAC address; write it like '00:16:3e:12:34:56'")
        octets = re.split("[:-]", address)
        return super().__new__(cls, ":".join(f"{int(octet, 16):02x}" for octet in octets))

    @classmethod
    def random(cls) -> Self:
        """Return a random address with Xen's own prefix, 00:16:3e, as libxl makes them."""
        return cls("00:16:3e:" + ":".join(f"{octet:02x}" for octet in os.urandom(3)))

    @property
    def is_multicast(self) -> bool:
        """Whether it is a group address, which no interface can have."""
        return bool(int(self[:2], 16) & 1)


def _sockets(side: str, *names: str) -> list[str]:
    return [f"{side}_{name}_{what}" for name in names for what in ("id", "ip", "port")]


COLO_KEYS: Final[tuple[str, ...]] = (
    *_sockets("sock", "mirror", "compare_pri_in", "compare_sec_in", "compare_notify"),
    *_sockets("sock", "redirector0", "redirector1", "redirector2"),
    "filter_mirror_queue",
    "filter_mirror_outdev",
    *(f"filter_redirector{n}_{what}" for n in (0, 1) for what in ("queue", "indev", "outdev")),
    "compare_pri_in",
    "compare_sec_in",
    "compare_out",
    "compare_notify_dev",
    *_sockets("sock_sec", "redirector0", "redirector1"),
    *(f"filter_sec_redirector{n}_{what}" for n in (0, 1) for what in ("queue", "indev", "outdev")),
    "filter_sec_rewriter0_queue",
    "checkpoint_host",
    "checkpoint_port",
)
"""The settings of `Vif.colo`, without the ``colo_`` that xl.cfg and libxl put before each."""


def _colo(value: Any) -> tuple[tuple[str, str], ...]:
    given = pairs(text)(value)
    for name, _ in given:
        if name not in COLO_KEYS:
            raise Refused(f"{quoted(name)} is not one of COLO's settings (see pyxen.config.COLO_KEYS)")
    return tuple(sorted(given, key=lambda item: COLO_KEYS.index(item[0])))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Vif(Device):
    """A network interface, as one item of xl.cfg's ``vif``: ``Vif(bridge="xenbr0")``."""

    bridge: str | None = setting(None, text)
    """Bridge in the backend domain. Default: ``xenbr0``, or what xl.conf says."""
    _: KW_ONLY
    mac: Coerced[Mac | None, Mac | str | None] = setting(None, value_of(Mac))
    """MAC address in the guest. Default: a random one under 00:16:3e."""
    model: str | None = setting(None, text)
    """Card that QEMU emulates, e.g. ``e1000``; HVM guests. Default ``rtl8139``."""
    type: Coerced[NicType | None, NicType | NicTypeName | None] = setting(None, member(NicType))
    """``vif`` (paravirtual only) or ``vif_ioemu`` (xl's ``ioemu``). Default: ``vif_ioemu`` for HVM guests."""
    ip: str | None = setting(None, text)
    """Addresses for the hotplug script, separated by blanks; their meaning is up to the script."""
    script: str | None = setting(None, filename)
    """Hotplug script. Default ``vif-bridge``; a name without a slash is looked for in xen's script folder."""
    vifname: str | None = setting(None, text)
    """Name of the interface in the backend domain. Default ``vifDOMID.DEVID``."""
    rate: Coerced[Rate | None, Rate | str | None] = setting(None, as_rate)
    """Limit on what the guest may send, e.g. ``"10MB/s"`` or ``"1MB/s@20ms"``. Default: none."""
    mtu: int | None = setting(None, integer(1, INT_MAX), unit="bytes")
    """MTU, in bytes. Default: libxl's 1492, or that of the bridge."""
    vlan: str | None = setting(None, text, since="4.19")
    """VLANs for a script that knows them, e.g. ``"10p/20"``. Xen 4.19."""
    gatewaydev: str | None = setting(None, text)
    """Interface that the scripts ``vif-route`` and ``vif-nat`` route through."""
    devid: int | None = setting(None, integer(0, INT_MAX))
    """Number of the interface in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves the interface. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves the interface, where it has no name here."""
    trusted: bool | None = setting(None, flag)
    """Whether the frontend trusts the backend (xl.cfg ``trusted``, ``untrusted``)."""
    forwarddev: str | None = setting(None, text)
    """Interface that COLO forwards to."""
    colo: Coerced[tuple[tuple[str, str], ...], Mapping[str, str] | Iterable[tuple[str, str]]] = setting(
        (), _colo, key=""
    )
    """Sockets and filters of COLO's network proxy, by the names in `COLO_KEYS`; libxl calls them unstable."""
