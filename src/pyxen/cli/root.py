"""The application ``pyxen`` without its commands: the options that come before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

import pyxen
from pyxen.cli.completion import URI_VARIABLE
from pyxen.cli.places import GROUPS

__all__ = ["HELP", "add_group", "new_app", "with_group", "with_one"]

HELP: Final = {"help_option_names": ["-h", "--help"]}
"""The options that show help."""


def new_app() -> typer.Typer:
    """Return the application without commands."""
    app = typer.Typer(
        name="pyxen",
        help="Run virtual machines on the Xen hypervisor.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=HELP,
    )
    app.callback()(_options)
    return app


def with_one(name: str, command: Callable[..., Any]) -> typer.Typer:
    """Return the application with one command: the others need not be loaded to run it."""
    app = new_app()
    app.command(name)(command)
    return app


def add_group(
    app: typer.Typer, name: str, commands: Mapping[str, Callable[..., Any]], panel: str | None = None
) -> None:
    """Add a command that has commands of its own."""
    group = typer.Typer(name=name, help=GROUPS[name][1], no_args_is_help=True, context_settings=HELP)
    for verb, command in commands.items():
        group.command(verb)(command)
    app.add_typer(group, rich_help_panel=panel)


def with_group(name: str, commands: Mapping[str, Callable[..., Any]]) -> typer.Typer:
    """Return the application with one command that has commands of its own; see `with_one`."""
    app = new_app()
    add_group(app, name, commands)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        from pyxen.backends.xenlight.libxl.loader import built_releases

        releases = ", ".join(built_releases())
        typer.echo(f"pyxen {pyxen.__version__}")
        typer.echo(f"libxl extension: {f'Xen {releases}' if releases else 'not built'}")
        raise typer.Exit


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
