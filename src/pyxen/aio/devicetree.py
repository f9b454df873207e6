"""The device tree of a host with Arm CPUs, for asyncio.

Generated from `pyxen.devicetree` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os
from typing import Final

from pyxen._common.arguments import check_is
from pyxen._common.file_content import content_of
from pyxen.aio._calls import Calls
from pyxen.aio.domain import Domain
from pyxen.backends.base import Backend, DomainRef

__all__ = ["DeviceTree"]

_MOST: Final = 500 << 10
"""Bytes that an overlay can have, as in Xen."""


class DeviceTree:
    """Overlays of Xen's device tree. Needs Arm and Xen 4.18. `pyxen.DeviceTree`, awaited."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<DeviceTree of {self._backend.uri}>"

    async def add(self, overlay: bytes | str | os.PathLike[str]) -> None:
        """Add the nodes of an overlay to Xen's device tree, as ``xl dt-overlay add``.

        Args:
            overlay: The compiled overlay (.dtbo), as bytes or as the path of its file; at most 500 KiB.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a compiled overlay.
            UnsupportedFeature: This backend, this Xen or this CPU has no overlays.
            OperationFailed: Xen refuses.
        """
        await self._calls.finish(
            lambda: self._backend.device_tree_add(content_of(overlay, "device_tree_add", most=_MOST))
        )

    async def remove(self, overlay: bytes | str | os.PathLike[str]) -> None:
        """Remove the nodes of an overlay from Xen's device tree, as ``xl dt-overlay remove``.

        Args:
            overlay: The overlay that was added.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a compiled overlay.
            UnsupportedFeature: This backend, this Xen or this CPU has no overlays.
            OperationFailed: Xen refuses, e.g. because a domain uses a device of it.
        """
        await self._calls.finish(
            lambda: self._backend.device_tree_remove(content_of(overlay, "device_tree_remove", most=_MOST))
        )

    async def attach(self, domain: Domain, overlay: bytes | str | os.PathLike[str]) -> None:
        """Give a domain the devices of an overlay, as ``xl dt-overlay attach``. Needs Xen 4.20.

        Args:
            domain: The domain.
            overlay: The overlay, which was added before.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a compiled overlay.
            UnsupportedFeature: This backend, this Xen or this CPU has no overlays.
            OperationFailed: Xen refuses.
        """
        check_is(Domain, domain, "device_tree_attach", ": host.domains finds one")
        ref = DomainRef(domain.domid, domain.uuid)
        await self._calls.finish(
            lambda: self._backend.device_tree_attach(ref, content_of(overlay, "device_tree_attach", most=_MOST))
        )
