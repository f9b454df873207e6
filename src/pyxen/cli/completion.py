"""Completion of names in bash, zsh and fish: bounded in time, and silent on errors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Final

import typer

__all__ = ["DEFAULT_URI", "URI_VARIABLE", "domains", "pools"]

DEFAULT_URI: Final = "xenlight:///"
URI_VARIABLE: Final = "PYXEN_URI"

_PATIENCE: Final = 2.0
"""Seconds after which completion gives up: who presses Tab does not wait for a host that hangs."""


def domains(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names, domids and uuids of domains that begin with a text; uuids only if a name cannot be meant."""
    return _asked(ctx, incomplete, _domains)


def pools(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names and numbers of CPU pools that begin with a text."""
    return _asked(ctx, incomplete, _pools)


def _domains(uri: str) -> list[str]:
    from pyxen.connection import connect

    with connect(uri, workers=0) as host:
        infos = host.list()
    words = [*(info.name for info in infos), *(str(info.domid) for info in infos), *(str(info.uuid) for info in infos)]
    return [word for word in words if word is not None]


def _pools(uri: str) -> list[str]:
    from pyxen.connection import connect

    with connect(uri, workers=0) as host:
        infos = host.cpupools.list()
    return [word for info in infos for word in (info.name, str(info.number)) if word is not None]


def _asked(ctx: typer.Context, incomplete: str, ask: Callable[[str], Iterable[str]]) -> list[str]:
    found: list[str] = []
    uri = _uri(ctx)

    def look() -> None:
        with contextlib.suppress(Exception):  # whatever it is, a shell that completes is no place to say it
            found.extend(ask(uri))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    # A name that a shell would not take as one word, or that controls the terminal, cannot be offered.
    words = [word for word in found if word.startswith(incomplete) and word.isprintable() and " " not in word]
    return list(dict.fromkeys(words))


def _uri(ctx: typer.Context) -> str:
    """Return the URI that the line to complete names; options before the command count, too."""
    here: typer.Context | None = ctx
    while here is not None:
        named = here.params.get("uri")
        if isinstance(named, str) and named:
            return named
        here = here.parent  # type: ignore[assignment]  # typer's contexts have parents of their own kind
    return os.environ.get(URI_VARIABLE) or DEFAULT_URI
