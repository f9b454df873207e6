"""The base class of devices: what xl.cfg writes as one item of ``disk``, ``vif``, ``pci`` and similar lists."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from pyxen.config.base import Part

if TYPE_CHECKING:
    from pyxen.losses import OnLoss

__all__ = ["Device", "Grammar"]

D = TypeVar("D", bound="Device")


class Grammar(Protocol):
    """What `Device` needs of `pyxen.xlcfg.device_text`."""

    def read_device(self, kind: type[D], text: str, on_loss: OnLoss) -> D:
        """Implement `Device.from_xl`."""

    def write_device(self, device: Device, on_loss: OnLoss) -> str:
        """Implement `Device.to_xl`."""

    def show_device(self, device: Device) -> str:
        """Implement ``str(device)``."""


def _grammar() -> Grammar:
    # The grammars are built on the model, so the model may not import them. They are loaded when they are first used.
    return cast("Grammar", importlib.import_module("pyxen.xlcfg.device_text"))


class Device(Part):
    """A device, which xl.cfg writes as one item of a list such as ``disk`` or ``vif``.

    ``str(device)`` is that item, for people to read: passwords are masked, and what xl.cfg cannot say is left out.
    `to_xl` returns the item to put into a file.
    """

    __slots__ = ()

    @classmethod
    def from_xl(cls, text: str, *, on_loss: OnLoss = "warn") -> Self:
        """Read a device from xl's text, with the grammar and the meaning that it has in a configuration file.

        ::

            Disk.from_xl("phy:/dev/vg0/web1,xvda,w")
            Vif.from_xl("mac=00:16:3e:12:34:56,bridge=xenbr0")
            Pci.from_xl("03:00.0,permissive=1")
            Vsnd.from_xl('["CARD, short-name=Main", "PCM, name=Out", "STREAM, type=p"]')

        Args:
            text: One item of xl.cfg's list for this kind of device, without its quotes. For a `Vsnd`, whose items are
                lists themselves, it is the list with its brackets and quotes.
            on_loss: What to do about words that xl ignores: ``"warn"`` (the default: xl continues, too), ``"raise"``
                or ``"ignore"``.

        Returns:
            The device.

        Raises:
            ParseError: xl would refuse the text; ``path`` is xl.cfg's key for this kind of device.
            LossyConversion: xl would ignore a word, and ``on_loss`` is ``"raise"``.
        """
        return _grammar().read_device(cls, text, on_loss)

    def to_xl(self, *, on_loss: OnLoss = "raise") -> str:
        """Return the device as one item of xl.cfg's list for this kind of device, passwords included.

        Args:
            on_loss: What to do about settings that xl.cfg cannot say: ``"raise"``, ``"warn"`` or ``"ignore"``.

        Returns:
            The text. `from_xl` reads the same device from it, apart from reported losses and settings that only repeat
            a default.

        Raises:
            LossyConversion: xl.cfg cannot say all of it, or xl would refuse the text, and ``on_loss`` is ``"raise"``.
        """
        return _grammar().write_device(self, on_loss)

    def __str__(self) -> str:
        return _grammar().show_device(self)
