"""Flask, Xen's security module (XSM), on a host, for asyncio.

Generated from `pyxen.flask` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os

from pyxen._common.arguments import check_bools, check_is, check_number
from pyxen._common.file_content import content_of
from pyxen._common.flask_arguments import MOST_POLICY
from pyxen.aio._calls import Calls
from pyxen.backends.base import Backend
from pyxen.records.info import DomainInfo

__all__ = ["Flask"]


class Flask:
    """Xen's security module: its mode, its policy and its labels. `pyxen.Flask`, awaited.

    Every method raises `UnsupportedFeature` on a Xen that runs without it.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Flask of {self._backend.uri}>"

    async def enforcing(self) -> bool:
        """Tell whether the policy is enforced, as ``xl getenforce``. If not, Xen only logs what it would refuse.

        Raises:
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        return await self._calls.ask(self._backend.flask_enforcing)

    async def set_enforcing(self, enforcing: bool) -> None:
        """Set whether the policy is enforced, as ``xl setenforce``.

        Raises:
            UnsupportedFeature: This backend, or this Xen, has no Flask.
            OperationFailed: The policy does not allow it.
        """
        check_bools("set_enforcing", enforcing=enforcing)
        await self._calls.finish(lambda: self._backend.flask_set_enforcing(enforcing))

    async def load_policy(self, policy: bytes | str | os.PathLike[str]) -> None:
        """Replace the policy, as ``xl loadpolicy``.

        Args:
            policy: The compiled policy, as bytes or as the path of its file; at most 64 MiB.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a policy that this Xen can read.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
            OperationFailed: The current policy does not allow it.
        """
        await self._calls.finish(
            lambda: self._backend.flask_load_policy(content_of(policy, "load_policy", most=MOST_POLICY))
        )

    async def label(self, of: DomainInfo | int) -> str:
        """Return a security label in words, e.g. ``system_u:system_r:domU_t``.

        Args:
            of: A domain's info, or the number of a label, as `DomainInfo.ssidref`.

        Raises:
            InvalidArgument: It is not the number of a label.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        number = of.ssidref if isinstance(of, DomainInfo) else of
        check_number(number, "label")
        return await self._calls.ask(lambda: self._backend.flask_label(number))

    async def ssidref(self, label: str) -> int:
        """Return the number of a security label.

        Args:
            label: The label in words, as in a domain's configuration (``seclabel``).

        Raises:
            InvalidArgument: The policy has no such label.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        check_is(str, label, "ssidref")
        return await self._calls.ask(lambda: self._backend.flask_ssidref(label))
