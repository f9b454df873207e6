"""Flask, Xen's security module (XSM), on a host."""

from __future__ import annotations

import os

from pyxen._common.arguments import check_bools, check_is, check_number
from pyxen._common.file_content import content_of
from pyxen._common.flask_arguments import MOST_POLICY
from pyxen.backends.base import Backend
from pyxen.operation import Calls
from pyxen.records.info import DomainInfo

__all__ = ["Flask"]


class Flask:
    """Xen's security module: its mode, its policy and its labels.

    Every method raises `UnsupportedFeature` on a Xen that runs without it. To have it, boot a Xen that was built with
    CONFIG_XSM_FLASK with ``flask=enforcing`` on its command line, and load a policy.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Flask of {self._backend.uri}>"

    def enforcing(self) -> bool:
        """Tell whether the policy is enforced, as ``xl getenforce``. If not, Xen only logs what it would refuse.

        Raises:
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        return self._calls.ask(self._backend.flask_enforcing)

    def set_enforcing(self, enforcing: bool) -> None:
        """Set whether the policy is enforced, as ``xl setenforce``.

        Raises:
            UnsupportedFeature: This backend, or this Xen, has no Flask.
            OperationFailed: The policy does not allow it.
        """
        check_bools("set_enforcing", enforcing=enforcing)
        self._calls.finish(lambda: self._backend.flask_set_enforcing(enforcing))

    def load_policy(self, policy: bytes | str | os.PathLike[str]) -> None:
        """Replace the policy, as ``xl loadpolicy``.

        Args:
            policy: The compiled policy, as bytes or as the path of its file; at most 64 MiB.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a policy that this Xen can read.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
            OperationFailed: The current policy does not allow it.
        """
        self._calls.finish(lambda: self._backend.flask_load_policy(content_of(policy, "load_policy", most=MOST_POLICY)))

    def label(self, of: DomainInfo | int) -> str:
        """Return a security label in words, e.g. ``system_u:system_r:domU_t``.

        Args:
            of: A domain's info, or the number of a label, as `DomainInfo.ssidref`.

        Raises:
            InvalidArgument: It is not the number of a label.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        number = of.ssidref if isinstance(of, DomainInfo) else of
        check_number(number, "label")
        return self._calls.ask(lambda: self._backend.flask_label(number))

    def ssidref(self, label: str) -> int:
        """Return the number of a security label.

        Args:
            label: The label in words, as in a domain's configuration (``seclabel``).

        Raises:
            InvalidArgument: The policy has no such label.
            UnsupportedFeature: This backend, or this Xen, has no Flask.
        """
        check_is(str, label, "ssidref")
        return self._calls.ask(lambda: self._backend.flask_ssidref(label))
