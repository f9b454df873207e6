"""Paravirtual displays (xl.cfg ``vdispl``) and sound cards (``vsnd``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import INT_MAX, UINT32_MAX, integer, many, member, part, text, yes_or_no
from pyxen.config.device import Device
from pyxen.config.enum_names import VsndPcmFormatName, VsndStreamTypeName
from pyxen.config.enums import VsndPcmFormat, VsndStreamType

__all__ = ["Connector", "Vdispl", "Vsnd", "VsndParams", "VsndPcm", "VsndStream"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Connector(Part):
    """An output of a paravirtual display, in xl.cfg ``ID:WIDTHxHEIGHT``."""

    unique_id: str | None = setting(None, text)
    """Name by which the backend finds it."""
    width: int = setting(0, integer(0, UINT32_MAX), unit="pixels")
    """Width, in pixels."""
    height: int = setting(0, integer(0, UINT32_MAX), unit="pixels")
    """Height, in pixels."""

    def __str__(self) -> str:
        """Return it as xl.cfg has it."""
        return f"{self.unique_id or ''}:{self.width}x{self.height}"


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Vdispl(Device):
    """A paravirtual display, as one item of xl.cfg's ``vdispl``."""

    connectors: Coerced[tuple[Connector, ...], Iterable[Connector]] = setting((), many(part(Connector)))
    """Its outputs. xl demands one at least."""
    be_alloc: bool = setting(False, yes_or_no, key="be-alloc")
    """Whether the backend provides the buffers."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves it, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class VsndParams(Part):
    """What a card, a PCM device or a stream can do; what is not set is inherited from the level above."""

    sample_rates: Coerced[tuple[int, ...], Iterable[int]] = setting(
        (), many(integer(0, UINT32_MAX)), key="sample-rates", unit="Hz"
    )
    """Sample rates, in Hz."""
    sample_formats: Coerced[tuple[VsndPcmFormat, ...], Iterable[VsndPcmFormat | VsndPcmFormatName]] = setting(
        (), many(member(VsndPcmFormat)), key="sample-formats"
    )
    """Sample formats."""
    channels_min: int = setting(0, integer(0, UINT32_MAX), key="channels-min")
    """Fewest channels; 0 means not set."""
    channels_max: int = setting(0, integer(0, UINT32_MAX), key="channels-max")
    """Most channels; 0 means not set."""
    buffer_size: int = setting(0, integer(0, UINT32_MAX), key="buffer-size", unit="bytes")
    """Largest buffer, in bytes; 0 means not set."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class VsndStream(Part):
    """A stream of a PCM device."""

    type: Coerced[VsndStreamType | None, VsndStreamType | VsndStreamTypeName | None] = setting(
        None, member(VsndStreamType)
    )
    """``p`` (playback) or ``c`` (capture)."""
    _: KW_ONLY
    unique_id: str | None = setting(None, text, key="unique-id")
    """Name by which the backend finds it."""
    params: VsndParams = setting(VsndParams(), part(VsndParams), key="")
    """What it can do."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class VsndPcm(Part):
    """A PCM device of a sound card."""

    name: str | None = setting(None, text)
    """Its name."""
    _: KW_ONLY
    streams: Coerced[tuple[VsndStream, ...], Iterable[VsndStream]] = setting((), many(part(VsndStream)), key="")
    """Its streams."""
    params: VsndParams = setting(VsndParams(), part(VsndParams), key="")
    """What its streams can do."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Vsnd(Device):
    """A paravirtual sound card, as one item of xl.cfg's ``vsnd``."""

    short_name: str | None = setting(None, text, key="short-name")
    """Name of the card."""
    long_name: str | None = setting(None, text, key="long-name")
    """Longer name of the card."""
    pcms: Coerced[tuple[VsndPcm, ...], Iterable[VsndPcm]] = setting((), many(part(VsndPcm)), key="")
    """Its PCM devices."""
    params: VsndParams = setting(VsndParams(), part(VsndParams), key="")
    """What its PCM devices can do."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves it, where it has no name here."""
