"""The application ``pyxen``, assembled from the modules of its commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from pyxen.cli import (
    autostart,
    configuration,
    console,
    convert,
    cpupools,
    create,
    devd,
    devices,
    devicetree,
    doctor,
    events,
    exporter,
    hostlog,
    images,
    life,
    lint,
    looking,
    migrate_receive,
    pci,
    places,
    psr,
    resources,
    schedulers,
    security,
    serve,
    supervise,
    top,
    transfer,
    usb,
    viewer,
    volume,
    xenstore,
)
from pyxen.cli.root import add_group, new_app

__all__ = ["COMMANDS", "GROUPS", "app"]

app = new_app()


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


COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "Looking": looking.COMMANDS | console.COMMANDS | viewer.COMMANDS | events.COMMANDS | top.COMMANDS,
    "Life of domains": create.COMMANDS | life.COMMANDS | transfer.COMMANDS | configuration.PLAIN,
    "Memory and CPUs": resources.COMMANDS | schedulers.COMMANDS | cpupools.COMMANDS | psr.COMMANDS,
    "Devices": devices.COMMANDS | pci.COMMANDS | usb.COMMANDS,
    "Xen": hostlog.COMMANDS | security.COMMANDS | devicetree.COMMANDS,
    "Services": supervise.COMMANDS | serve.COMMANDS | migrate_receive.COMMANDS | devd.COMMANDS | exporter.COMMANDS,
    "Configurations and tools": doctor.COMMANDS | convert.COMMANDS | lint.COMMANDS | {"completion": completion},
}
"""The commands, by subject and name."""

_OF_GROUPS: Final = {
    "config": configuration.COMMANDS,
    "autostart": autostart.COMMANDS,
    "volume": volume.COMMANDS,
    "image": images.COMMANDS,
    "xenstore": xenstore.COMMANDS,
}

GROUPS: Final[Mapping[str, tuple[str, Mapping[str, Callable[..., Any]]]]] = {
    name: (places.GROUPS[name][1], commands) for name, commands in _OF_GROUPS.items()
}
"""The commands that have commands of their own, each with what it does."""

for _subject, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_subject)(_command)
for _name, (_help, _commands) in GROUPS.items():
    add_group(app, _name, _commands, "Groups of commands")
