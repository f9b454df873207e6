"""Completion of names in bash, zsh and fish: bounded in time, and silent on errors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import Final

import typer

__all__ = ["DEFAULT_URI", "URI_VARIABLE", "assignable_pci", "devices", "domains", "host_pci", "pools"]

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


def host_pci(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the addresses of the host's PCI devices that begin with a text."""
    return _asked(ctx, incomplete, lambda uri: _pci(uri, assignable=False))


def assignable_pci(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the addresses and names of assignable PCI devices that begin with a text."""
    return _asked(ctx, incomplete, lambda uri: _pci(uri, assignable=True))


def devices(field: str) -> Callable[[typer.Context, str], list[str]]:
    """Return the completion of the devices of a kind, by what their commands call them.

    Args:
        field: The collection of the domain that the line names, as ``disks``.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        domain = ctx.params.get("domain")
        return _asked(ctx, incomplete, lambda uri: _devices(uri, str(domain), field)) if domain else []

    return complete


def _devices(uri: str, domain: str, field: str) -> list[str]:
    from pyxen.cli.session import domain_of
    from pyxen.connection import connect

    with connect(uri, workers=0) as host:
        found = list(getattr(domain_of(host, domain), field).list())
    words: list[object] = []
    for each in found:
        names = [getattr(each.config, name, None) for name in ("vdev", "mac", "address")]
        words += [name for name in names if name is not None] or [each.devid]
    return [str(word) for word in words if word is not None]


def _pci(uri: str, *, assignable: bool) -> list[str]:
    from pyxen.connection import connect

    with connect(uri, workers=0) as host:
        found = host.pci.assignable_list() if assignable else host.pci.list()
    return [str(word) for each in found for word in (each.address, each.name) if word is not None]


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
    with contextlib.suppress(RuntimeError):  # no thread can be started, as above
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
