r"""The real xl of a Xen release, asked off-host what it makes of configurations and device specs.

::

    with XlOracle("4.20") as xl:
        answer = xl.create('name="web"\nkernel="/boot/vmlinuz"\n')   # the JSON that xl prints, or Refused
        disk = xl.disk("/dev/vg/web,raw,xvda,rw")
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from tests.oracle.server import Answer, Refused, Server
from tests.oracle.setup import oracle

HOST_CPUS = 64
"""CPUs of the host that xl believes in, 16 in each of `HOST_NODES` NUMA nodes."""

HOST_NODES = 4


class XlOracle:
    """xl of Xen `release` in dry runs. Close it, or use it as a context manager.

    Attributes:
        overrides: What is given to ``xl create`` beside the file.
    """

    def __init__(self, release: str, overrides: Sequence[str] = ()) -> None:
        self.release = release
        self.overrides = overrides
        self._oracle = oracle(release)
        self._servers: dict[str, Server] = {}
        self.last: Answer | None = None

    def create(self, text: str | bytes, xl_conf: str = "") -> dict[str, Any] | Refused:
        """Return the libxl_domain_config that ``xl -N create`` prints for `text`, parsed, or its refusal.

        Args:
            text: The configuration.
            xl_conf: The settings of xl itself.
        """
        if xl_conf:
            text = (text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text) + b"\0xl.conf\0"
            text += xl_conf.encode()
        return self._ask("create", text)

    def disk(self, spec: str | bytes) -> dict[str, Any] | Refused:
        """Return what ``xl -N block-attach 0 SPEC`` prints, parsed (a libxl_device_disk), or its refusal."""
        return self._ask("block-attach", spec)

    def vif(self, spec: str) -> dict[str, Any] | Refused:
        """Return what xl makes of one item of ``vif=``, or its refusal (network-attach takes no whole spec)."""
        quoted = spec.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        answer = self.create(f'name="oracle"\nkernel="/kernel"\nvif=["{quoted}"]\n')
        if isinstance(answer, Refused):
            return answer
        nic: dict[str, Any] = answer["nics"][0]
        return nic

    def messages(self) -> str:
        """Return the warnings of the last call."""
        return self.last.messages if self.last else ""

    def close(self) -> None:
        """End the programs."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _ask(self, verb: str, text: str | bytes) -> dict[str, Any] | Refused:
        if verb not in self._servers:
            arguments = ["CONFIG", *self.overrides] if verb == "create" else ["0", "SPEC"]
            self._servers[verb] = Server(self._oracle, self._oracle.xl, "-N", verb, *arguments)
        request = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self.last = answer = self._servers[verb].ask(request)
        if answer.status:
            return Refused(answer.status, answer.messages)
        output = answer.output.decode("utf-8", "surrogateescape")
        found: dict[str, Any] = json.loads(output[output.index("{") :])
        return found
