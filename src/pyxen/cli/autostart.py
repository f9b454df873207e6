"""Commands for the domains that start and stop with their host: ``pyxen autostart``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from pyxen import autostart
from pyxen._common.ready_names import is_ready_name
from pyxen.autostart import StartAction, Started, StopAction, Stopped
from pyxen.cli.files import STANDARD_INPUT, complain, read, said_of
from pyxen.cli.options import AsJson, Uri, Yes, timeout_option
from pyxen.cli.output import document, table
from pyxen.cli.session import confirm, host_at, interrupted_as, named, told
from pyxen.cli.status import ExitStatus, status_of
from pyxen.config import DomainConfig
from pyxen.errors import ConfigError, Error, NotFound
from pyxen.xendomains import XendomainsSettings

__all__ = ["COMMANDS"]

Settings = Annotated[
    str | None,
    typer.Option(
        "--settings", metavar="FILE", help="Those of xendomains. Default: /etc/default/xendomains.", show_default=False
    ),
]


def start(
    uri: Uri = "",
    settings: Settings = None,
    timeout: Annotated[
        float | None, timeout_option("Give up on each domain after this time; those that were started before run on.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Restore the domains that were saved at the last stop, and create those that are enabled, one after the other.

    A domain that runs already is left. What fails is said, and the others go on.

    Example: pyxen autostart start

    JSON: a list of objects with path, action, name, domid and error.
    """
    with host_at(uri) as host, interrupted_as("domains that were started before run on"):
        done = autostart.start_all(host, _settings(settings), timeout=timeout)
    if as_json:
        document([_started(each) for each in done])
    else:
        table(
            ["Name", "ID", "Action", "File"],
            [(each.name, _domid(each), each.action, each.path) for each in done],
            numbers=["ID"],
        )
    failed = [each.error for each in done if each.error is not None]
    _end(failed, any(each.action is StartAction.FAILED for each in done))


def stop(
    uri: Uri = "",
    settings: Settings = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="How many domains at the same time.")] = 4,
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stop the guests: migrate them, else save them, else shut them down, as the settings say. It asks first.

    What fails is said, and the others go on.

    Example: pyxen autostart stop

    JSON: a list of objects with name, domid, action, path and errors, a list of text.
    """
    with host_at(uri) as host:
        wanted = _settings(settings)
        guests = [guest for guest in host.guests if not is_ready_name(guest.name)]  # those are a pool's
        if guests:
            confirm(f"Stop {len(guests)} guests: {', '.join(map(named, guests))}?", yes=yes)
        with interrupted_as("no other guest is stopped: pyxen list shows what became of those that were"):
            done = autostart.stop_all(host, wanted, parallel=parallel)
    if as_json:
        document([_stopped(each) for each in done])
    else:
        table(
            ["Name", "ID", "Action", "File"],
            [(each.name, each.domid, each.action, each.path) for each in done],
            numbers=["ID"],
        )
    failed = [error for each in done for error in each.errors]
    _end(failed, any(each.action is StopAction.FAILED for each in done))


def show(uri: Uri = "", settings: Settings = None, *, as_json: AsJson = False) -> None:
    """List the domains that start with the host: those that are enabled, and those that are saved.

    Example: pyxen autostart list

    JSON: a list of objects with name, path, kind (enabled or saved), running and error.
    """
    with host_at(uri) as host:
        wanted = _settings(settings)
        names = {info.name for info in host.list()}
    entries = [_enabled(path, names) for path in _files(wanted.auto)]
    entries += [
        {
            "name": os.path.basename(path),
            "path": path,
            "kind": "saved",
            "running": os.path.basename(path) in names,
            "error": None,
        }
        for path in _files(wanted.save)
    ]
    if as_json:
        document(entries)
        return
    rows = [(each["name"], each["kind"], "yes" if each["running"] else "no", each["path"]) for each in entries]
    table(["Name", "Kind", "Running", "File"], rows)
    for each in entries:
        if each["error"] is not None:
            complain(each["error"], style="bold yellow", label="warning")


def _enabled(path: str, running: set[str | None]) -> dict[str, Any]:
    from pyxen import xlcfg

    entry: dict[str, Any] = {"name": None, "path": path, "kind": "enabled", "running": False, "error": None}
    try:
        entry["name"] = xlcfg.load(path, on_loss="ignore").name
    except (Error, OSError, ValueError) as error:
        return entry | {"error": said_of(path, error) if type(error) is OSError else str(error)}
    return entry | {"running": entry["name"] in running}


def enable(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A configuration of xl.")],
    settings: Settings = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a domain start with the host: link its configuration into the folder of such domains, /etc/xen/auto.

    Example: pyxen autostart enable /etc/xen/web1.cfg

    JSON: an object with name, path and target, which the link points to.
    """
    with told():
        config = _to_be_enabled(file)
        folder = _folder(settings)
        target = os.path.abspath(file)
        link = os.path.join(folder, os.path.basename(file))
        try:
            os.makedirs(folder, exist_ok=True)
            if not (os.path.islink(link) and os.readlink(link) == target):
                os.symlink(target, link)
        except FileExistsError:
            raise ConfigError(
                f"{link} exists already, and is another one: disable that first, or rename {file}"
            ) from None
        except OSError as error:
            complain(said_of(link, error))
            raise typer.Exit(ExitStatus.USAGE) from None
    if as_json:
        document({"name": config.name, "path": link, "target": target})


def _to_be_enabled(file: str) -> DomainConfig:
    """Read a configuration as the start will read it.

    Raises:
        ConfigError: The start would not find it, or could not read it.
        typer.Exit: The file cannot be read. That is said.
    """
    from pyxen import conversion, xlcfg

    if file == STANDARD_INPUT:
        raise ConfigError(
            "standard input is gone at the next start: write the configuration to a file, and enable that"
        )
    if os.path.basename(file).startswith("."):
        raise ConfigError(
            f"{file}: the start passes over hidden files: rename it, so that it does not begin with a dot"
        )
    try:
        text = read(file)
    except OSError as error:
        complain(said_of(file, error))
        raise typer.Exit(ExitStatus.USAGE) from None
    spelling = conversion.guess(text)
    if spelling != "xl":
        raise ConfigError(
            f"{file} is {spelling}, and the start reads xl's configurations only: pyxen convert makes one"
        )
    return xlcfg.loads(text, source=file)


def disable(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the domain, or of its file there.")],
    settings: Settings = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a domain not start with the host any more: remove the link to its configuration. The domain goes on.

    Example: pyxen autostart disable web1

    JSON: an object with name, path and target, which the link pointed to.
    """
    with told():
        folder = _folder(settings)
        found = [path for path in _files(folder) if name in (os.path.basename(path), _enabled(path, set())["name"])]
        if not found:
            raise NotFound(f"{name} is not enabled: nothing in {folder} is its configuration")
        path = found[0]
        if not os.path.islink(path):
            raise ConfigError(f"{path} is a file of its own and not a link: move it away, and its domain is disabled")
        target = os.readlink(path)
        try:
            os.unlink(path)
        except OSError as error:
            complain(said_of(path, error))
            raise typer.Exit(ExitStatus.USAGE) from None
    if as_json:
        document({"name": name, "path": path, "target": target})


def _folder(settings: str | None) -> str:
    folder = _settings(settings).auto
    if folder is None:
        raise ConfigError("the settings of xendomains name no folder: XENDOMAINS_AUTO is empty")
    return folder


def _settings(file: str | None) -> XendomainsSettings:
    """Return the settings of a file; by default the host's, or those of Xen if the host has none.

    Raises:
        typer.Exit: The file cannot be read. That is said.
        ParseError: It is not valid.
    """
    try:
        return XendomainsSettings.load(file)
    except FileNotFoundError as error:
        if file is None:
            return XendomainsSettings()
        complain(said_of(file, error))
        raise typer.Exit(ExitStatus.USAGE) from None
    except OSError as error:
        complain(said_of(file or str(error.filename), error))
        raise typer.Exit(ExitStatus.USAGE) from None


def _files(folder: str | None) -> list[str]:
    """Return the files of a folder, sorted, without hidden ones and folders."""
    if folder is None or not os.path.isdir(folder):
        return []
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    return [path for path in paths if not os.path.isdir(path)]


def _domid(started: Started[Any]) -> int | None:
    return None if started.domain is None else started.domain.domid


def _started(each: Started[Any]) -> dict[str, Any]:
    error = None if each.error is None else str(each.error)
    return {"path": each.path, "action": each.action, "name": each.name, "domid": _domid(each), "error": error}


def _stopped(each: Stopped) -> dict[str, Any]:
    errors = [str(error) for error in each.errors]
    return {"name": each.name, "domid": each.domid, "action": each.action, "path": each.path, "errors": errors}


def _end(errors: list[Exception], failed: bool) -> None:
    """Say what went wrong, and end the command with a status for it."""
    for error in errors:
        complain(str(error), **({} if failed else {"style": "bold yellow", "label": "warning"}))
    if failed:
        last = errors[-1]
        raise typer.Exit(status_of(last) if isinstance(last, Error) else ExitStatus.FAILED)


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "start": start,
    "stop": stop,
    "list": show,
    "enable": enable,
    "disable": disable,
}
"""The commands of ``pyxen autostart`` by name."""
