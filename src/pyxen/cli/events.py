"""``pyxen events``."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from pyxen import events as kinds
from pyxen.cli.completion import domains
from pyxen.cli.options import AsJson, Uri, timeout_option
from pyxen.cli.output import cell, document, say
from pyxen.cli.session import domain_of, host_at
from pyxen.cli.status import ExitStatus
from pyxen.events import Event

__all__ = ["COMMANDS"]

_KINDS: Final = {name: getattr(kinds, name) for name in kinds.__all__ if inspect.isclass(getattr(kinds, name))}
_SHOWN_FIRST: Final = ("event", "time", "name", "domid", "uuid")


def events(
    domain: Annotated[
        str | None,
        typer.Argument(metavar="DOMAIN", autocompletion=domains, help="Name, domid or uuid. Default: all."),
    ] = None,
    uri: Uri = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", metavar="KIND", help=f"One kind, or several: {', '.join(_KINDS)}."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")] = None,
    timeout: Annotated[float | None, timeout_option("End after this time.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what happens on the host from now on, until Ctrl-C: domains and devices that come and go.

    The exit status is 6 if the time was up before --count events had come.

    Example: pyxen events --json

    JSON: an object for each event, on a line: event, its kind, and the fields of that class.
    """
    unknown = [name for name in kind or () if name not in _KINDS]
    if unknown:
        raise typer.BadParameter(f"{cell(unknown[0])!r} is not one of {', '.join(_KINDS)}")
    wanted: tuple[type[Event], ...] = tuple(_KINDS[name] for name in kind or ())
    deadline = None if timeout is None else time.monotonic() + timeout
    with host_at(uri, follows=True) as host:
        about = None if domain is None else domain_of(host, domain)
        with host.events(*wanted, domain=about) as reader:
            seen = 0
            while count is None or seen < count:
                event = reader.get(None if deadline is None else max(0.0, deadline - time.monotonic()))
                if event is None:
                    raise typer.Exit(ExitStatus.DONE if count is None else ExitStatus.TIMED_OUT)
                seen += 1
                _show(event.to_dict(), as_json=as_json)


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document(event, on_one_line=True)
        return
    rest = [f"{name}={value}" for name, value in event.items() if name not in _SHOWN_FIRST and value is not None]
    say(event["time"], event["event"], event["name"], event["domid"], *rest)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"events": events}
"""The commands of this module by name."""
