"""The application ``pyxen``, assembled from the modules of its commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

import pyxen
from pyxen.cli import (
    autostart,
    configuration,
    console,
    cpupools,
    create,
    devices,
    events,
    hostlog,
    images,
    life,
    looking,
    pci,
    psr,
    resources,
    schedulers,
    security,
    top,
    transfer,
    usb,
    viewer,
    volume,
    xenstore,
)
from pyxen.cli.completion import URI_VARIABLE
from pyxen.cli.convert import convert
from pyxen.cli.devd import devd
from pyxen.cli.doctor import doctor
from pyxen.cli.exporter import exporter
from pyxen.cli.lint import lint
from pyxen.cli.migrate_receive import migrate_receive
from pyxen.cli.supervise import supervise

__all__ = ["COMMANDS", "GROUPS", "app"]

_HELP: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="pyxen",
    help="Run virtual machines on the Xen hypervisor.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


class Shell(StrEnum):
    """Shells whose command lines can be completed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print the script that makes a shell complete commands, and the names of domains and CPU pools.

    Example: eval "$(pyxen completion bash)"
    """
    os.environ["_PYXEN_COMPLETE"] = f"source_{shell}"
    app(args=[], prog_name="pyxen")


def _show_version(asked: bool) -> None:
    if asked:
        from pyxen.backends.xenlight.libxl.loader import built_releases

        releases = ", ".join(built_releases())
        typer.echo(f"pyxen {pyxen.__version__}")
        typer.echo(f"libxl extension: {f'Xen {releases}' if releases else 'not built'}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    uri: Annotated[
        str,
        typer.Option("--uri", metavar="URI", envvar=URI_VARIABLE, help="The host of the command.", show_default=False),
    ] = "",
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version, and the Xen releases it is for."
        ),
    ] = False,
) -> None:
    ctx.obj = uri


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "Looking": looking.COMMANDS | console.COMMANDS | viewer.COMMANDS | events.COMMANDS | top.COMMANDS,
    "Life of domains": create.COMMANDS | life.COMMANDS | transfer.COMMANDS | configuration.PLAIN,
    "Memory and CPUs": resources.COMMANDS | schedulers.COMMANDS | cpupools.COMMANDS | psr.COMMANDS,
    "Devices": devices.COMMANDS | pci.COMMANDS | usb.COMMANDS,
    "Xen": hostlog.COMMANDS | security.COMMANDS,
    "Services": {"supervise": supervise, "migrate-receive": migrate_receive, "devd": devd, "exporter": exporter},
    "Configurations and tools": {"doctor": doctor, "convert": convert, "lint": lint, "completion": completion},
}
"""The commands, by subject and name."""

GROUPS: Final[Mapping[str, tuple[str, Mapping[str, Callable[..., Any]]]]] = {
    "config": ("Show, compare and apply the configurations of domains.", configuration.COMMANDS),
    "autostart": ("Start and stop domains with their host.", autostart.COMMANDS),
    "volume": ("List, create and remove volumes of LVM, the disks of guests.", volume.COMMANDS),
    "image": ("Make disks with a system on them.", images.COMMANDS),
    "xenstore": ("Read, write and watch xenstore.", xenstore.COMMANDS),
}
"""The commands that have commands of their own, each with what it does."""

for _subject, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_subject)(_command)
for _name, (_help, _commands) in GROUPS.items():
    _group = typer.Typer(name=_name, help=_help, no_args_is_help=True, context_settings=_HELP)
    for _verb, _command in _commands.items():
        _group.command(_verb)(_command)
    app.add_typer(_group, rich_help_panel="Groups of commands")
