"""The application ``pyxen``, assembled from the modules of its commands."""

from __future__ import annotations

from typing import Annotated

import typer

import pyxen
from pyxen.cli.convert import convert
from pyxen.cli.devd import devd
from pyxen.cli.exporter import exporter
from pyxen.cli.lint import lint
from pyxen.cli.migrate_receive import migrate_receive
from pyxen.cli.supervise import supervise

__all__ = ["app"]

app = typer.Typer(
    name="pyxen",
    help="Run virtual machines on the Xen hypervisor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pyxen {pyxen.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command()(convert)
app.command()(lint)
app.command()(supervise)
app.command()(migrate_receive)
app.command()(devd)
app.command()(exporter)
