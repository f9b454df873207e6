"""The command ``pyxen``, which needs an extra: ``pip install 'pyxen[cli]'``."""

from __future__ import annotations

import errno
import importlib
import os
import sys

from pyxen.cli.places import COMPLETION, GROUPS, called
from pyxen.cli.quick import drop, quickly

TYPE_CHECKING = False  # typing takes longer than a quick command
if TYPE_CHECKING:
    from typer import Typer

__all__ = ["main"]

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
_OF_THE_EXTRA = ("typer", "rich", "click")
_HELP_OPTIONS = frozenset({"-h", "--help"})


def main() -> int:
    """Run the command with the arguments of this process; return its exit status."""
    try:
        return _main()
    except KeyboardInterrupt:  # before the command has begun, or after it has ended
        return 130
    finally:
        _forget_messages()


def _forget_messages() -> None:
    """Forget messages that cannot be written: the interpreter would try again, and end with a status of its own."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            drop(sys.stderr)


def _main() -> int:
    done = quickly(sys.argv[1:], os.environ)
    if done is not None:
        return done
    try:
        _app()(prog_name="pyxen")
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        sys.stderr.write(f"pyxen: the command needs {error.name}, which is not installed: pip install 'pyxen[cli]'\n")
        return 2
    except OSError as error:
        # The commands deal with their own files and output. What is left is the output of --help and --version.
        if error.errno not in _OUTPUT_ERRORS or error.filename is not None:
            raise
        from pyxen.cli.files import FAILED, output_failed

        output_failed(error)
        return FAILED
    return 0


def _app() -> Typer:
    """Load the command that is called, or all if that cannot be told."""
    found = None if COMPLETION in os.environ else called(sys.argv[1:])
    if found is None:
        from pyxen.cli.app import app

        return app
    if not _HELP_OPTIONS.intersection(sys.argv):
        _load_typer_alone()
    from pyxen.cli.root import with_group, with_one

    name, module = found
    commands = importlib.import_module(f"pyxen.cli.{module}").COMMANDS
    return with_group(name, commands) if name in GROUPS else with_one(name, commands[name])


def _load_typer_alone() -> None:
    """Load typer as if rich were not installed: it uses rich for help and for wrong usage, which is then plain text.

    typer 0.15 loads rich with all that Markdown needs: a quarter of the time of `pyxen list --json`.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # so an import of it fails
    try:
        importlib.import_module("typer.main")
    finally:
        del sys.modules["rich"]
