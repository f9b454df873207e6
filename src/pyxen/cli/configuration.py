"""Commands for the configurations of domains: ``pyxen config``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import typer

from pyxen.applying import Applied
from pyxen.cli.convert import Target
from pyxen.cli.files import complain, write
from pyxen.cli.options import AsJson, DomainName, Uri, timeout_option
from pyxen.cli.output import content, document, json_text, lines, say
from pyxen.cli.session import config_said, domain_of, host_at, interrupted_as, report
from pyxen.cli.status import ExitStatus
from pyxen.config import ConfigDiff
from pyxen.config.difference import SettingChange

__all__ = ["COMMANDS", "PLAIN"]

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A configuration of xl, libvirt or libxl; - is stdin. Settings alone need no file."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings in xl's language, which replace those of the file."),
]


def show(
    domain: DomainName,
    uri: Uri = "",
    to: Annotated[Target, typer.Option("--to", "-t", help="The format.")] = Target.XL,
    *,
    defaults: Annotated[bool, typer.Option("--defaults", help="Show what is only libxl's own choice, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --to json.")] = False,
) -> None:
    """Show the configuration of a domain, with the devices attached since it was created.

    Example: pyxen config show web1

    JSON: libxl's JSON of the configuration.
    """
    from pyxen import conversion

    with host_at(uri) as host:
        config = domain_of(host, domain).config(defaults=defaults)
        is_json = as_json or to is Target.JSON
        text, lost = conversion.write(config, "json" if is_json else to.value)
    for loss in lost:
        complain(str(loss), style="bold yellow", label="lost")
    if is_json:
        write(json_text(text))
    else:
        content(text)


def diff(
    file: File,
    settings: Settings = None,
    uri: Uri = "",
    domain: Annotated[
        str | None, typer.Option("--domain", "-d", metavar="DOMAIN", help="Default: the one the file names.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a configuration asks for that its domain is not.

    The exit status is 1 if there is something.

    Example: pyxen config diff web1.cfg

    JSON: an object with settings, a list of objects with path, before and after; added and removed, which are lists of
    devices in xl's text; and changed, a list of objects with path and settings.
    """
    with host_at(uri) as host:
        wanted = config_said(file, settings)
        key = domain if domain is not None else wanted.name if wanted.uuid is None else str(wanted.uuid)
        found = domain_of(host, key).config().diff(wanted)
    if as_json:
        document(_plain(found))
    elif found:
        write(lines(f"{found}\n"))
    if found:
        raise typer.Exit(ExitStatus.FAILED)


def apply(
    file: File,
    settings: Settings = None,
    uri: Uri = "",
    timeout: Annotated[
        float | None, timeout_option("Give up after this time, and undo the step that runs; those before it stay.")
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dryrun", "--dry-run", "-n", help="Change nothing, and say what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the domain of a configuration, or change the running one with as few steps as can be.

    What only a restart of the domain can bring is said on standard error.

    Example: pyxen config apply web1.cfg

    JSON: an object with created; changed, a list of objects with verb and value, which is text; and needs_restart,
    which is as the JSON of diff.
    """
    with host_at(uri) as host:
        wanted = config_said(file, settings)
        with interrupted_as("steps that were done before stay: pyxen config diff shows what is left to do"):
            applied = host.apply(wanted, dry_run=dry_run, timeout=timeout)
    if as_json:
        document(_applied(applied))
        return
    if applied.created:
        say("would be created" if dry_run else "created")
    for step in applied.changed:
        say(step)
    if applied.needs_restart:
        for line in str(applied.needs_restart).splitlines():
            complain(line, style="bold yellow", label="needs a restart")


def update(
    domain: DomainName,
    file: File,
    settings: Settings = None,
    uri: Uri = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Set the configuration from which a domain is started again when it reboots. The running domain does not change.

    Example: pyxen config-update web1 web1.cfg

    JSON: an object with domid, name and uuid.
    """
    with host_at(uri) as host:
        found = domain_of(host, domain)
        found.update_config(config_said(file, settings))
        report(found, as_json=as_json)


def _applied(applied: Applied) -> dict[str, Any]:
    from pyxen.losses import shown

    return {
        "created": applied.created,
        "changed": [{"verb": step.verb, "value": shown(step.value)} for step in applied.changed],
        "needs_restart": _plain(applied.needs_restart),
    }


def _plain(found: ConfigDiff) -> dict[str, Any]:
    return {
        "settings": _settings(found.settings),
        "added": [str(device) for device in found.added],
        "removed": [str(device) for device in found.removed],
        "changed": [{"path": change.path, "settings": _settings(change.settings)} for change in found.changed],
    }


def _settings(changes: Iterable[SettingChange]) -> list[dict[str, Any]]:
    return [{"path": each.path, "before": _value(each.before), "after": _value(each.after)} for each in changes]


def _value(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"show": show, "diff": diff, "apply": apply}
"""The commands of ``pyxen config`` by name."""

PLAIN: Final[dict[str, Callable[..., None]]] = {"config-update": update}
"""The commands that have xl's name, too."""
