"""The guests of a host as a collection, for asyncio.

Generated from `pyxen.guests` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from pyxen.aio.domains import Domains
from pyxen.info import DomainInfo

__all__ = ["Guests"]


class Guests(Domains):
    """The current guests of a host: like `Domains`, but without dom0 and without stub domains.

    A stub domain runs the device model of another guest, see `DomainInfo.stubdomain_of`; `Host.domains` has it.
    """

    def __repr__(self) -> str:
        return f"<Guests of {self._backend.uri}>"

    def _alive(self) -> list[DomainInfo]:
        return [info for info in super()._alive() if info.domid != 0 and info.stubdomain_of is None]
