"""`GuestImage`: what was made, and the configuration of a guest that starts from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyxen.config import Disk, DomainConfig

__all__ = ["GuestImage"]


@dataclass(frozen=True, slots=True)
class GuestImage:
    """Disks with a system on them."""

    hostname: str
    """The name that the system has."""
    disks: tuple[Disk, ...]
    """The disk of the system; that of a cloud image is followed by one with its first settings."""
    settings: tuple[tuple[str, Any], ...]
    """Further fields of `DomainConfig` with which it starts."""

    def config(self, **settings: Any) -> DomainConfig:
        """Return the configuration of a guest that starts from it, named after its hostname.

        Args:
            **settings: Fields of `DomainConfig`, which win over those of the image: ``memory=1024``,
                ``vifs=[Vif(bridge="xenbr0")]``. ``disks`` are added to those of the image.

        Raises:
            ValidationError: A value is not valid.
        """
        disks = [*self.disks, *settings.pop("disks", ())]
        name = settings.pop("name", self.hostname)
        return DomainConfig(name, **{"memory": 512, **dict(self.settings), **settings, "disks": disks})
