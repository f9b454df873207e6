"""The real libxlutil of a Xen release: what its parser makes of a text. No hypervisor is needed or feigned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from tests.oracle.server import Answer, Refused, Server
from tests.oracle.setup import oracle

_VERBS = ("cfg", "disk", "arguments", "rate")


class XluOracle:
    """libxlutil of Xen `release`. Close it, or use it as a context manager."""

    def __init__(self, release: str) -> None:
        found = oracle(release)
        self._servers = {verb: Server(found, found.xlu, verb, "CONFIG") for verb in _VERBS}

    def parse(self, text: str | bytes) -> dict[str, Any] | Refused:
        """Return every setting of a configuration, or the refusal.

        A value is a dict: ``{"string": bytes as characters, "number": as xlu_cfg_get_long reads it}`` (no number where
        it reads none) or ``{"list": [...]}``.
        """
        return self._ask("cfg", text)

    def takes(self, text: str | bytes) -> bool:
        """Return whether libxlutil takes a configuration, whatever it makes of it."""
        return self._answer("cfg", text).status == 0

    def disk(self, spec: str | bytes) -> dict[str, Any] | Refused:
        """Return the libxl_device_disk of a spec, or the refusal."""
        return self._ask("disk", spec)

    def disk_of_arguments(self, specs: Sequence[str]) -> dict[str, Any] | Refused:
        """Return the libxl_device_disk of the arguments of ``xl block-attach``, or the refusal."""
        return self._ask("arguments", "\x1f".join(specs))

    def rate(self, rate: str | bytes) -> dict[str, Any] | Refused:
        """Return the two numbers of a vif's rate, or the refusal."""
        return self._ask("rate", rate)

    def close(self) -> None:
        """End the programs."""
        for server in self._servers.values():
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _ask(self, verb: str, text: str | bytes) -> dict[str, Any] | Refused:
        answer = self._answer(verb, text)
        if answer.status:
            return Refused(answer.status, answer.messages)
        found: dict[str, Any] = json.loads(answer.output)
        return found

    def _answer(self, verb: str, text: str | bytes) -> Answer:
        request = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return self._servers[verb].ask(request)
