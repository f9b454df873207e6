"""The real libxl of a Xen release: what it makes of its own JSON. No hypervisor is needed; the stub stands for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from tests.oracle.debian import run
from tests.oracle.server import Refused, Server
from tests.oracle.setup import Oracle, oracle

_SOURCE = Path(__file__).with_name("libxl_json.c")


class LibxlJsonOracle:
    """libxl of Xen `release`, reading and writing configurations. Close it, or use it as a context manager."""

    def __init__(self, release: str) -> None:
        found = oracle(release)
        self._server = Server(found, _program(found), "CONFIG")

    def round_trip(self, document: dict[str, Any]) -> dict[str, Any] | Refused:
        """Return a libxl_domain_config after libxl has read and written it, or libxl's refusal."""
        answer = self._server.ask(json.dumps(document, ensure_ascii=False).encode())
        if answer.status:
            return Refused(answer.status, answer.messages)
        found: dict[str, Any] = json.loads(answer.output)
        return found

    def close(self) -> None:
        """End the program."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _program(found: Oracle) -> Path:
    """Compile the program, once for each version of its source."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    program = found.folder / f"libxl_json-{digest}"
    if not program.exists():
        include = found.tree / "usr" / "include"
        folders = [f"-L{folder}" for folder in found.library_folders()]
        made = program.with_suffix(".new")
        run("gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{include}", "-o", made, _SOURCE,
            *folders[-1:], "-lxenlight", "-lxentoollog", "-Wl,--allow-shlib-undefined")  # fmt: skip
        made.rename(program)
    return program
