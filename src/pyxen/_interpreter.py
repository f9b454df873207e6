"""A check of the Python interpreter: hosts are opened in the main interpreter only, and with the GIL."""

from __future__ import annotations

import importlib
import sys

from pyxen.errors import UnsupportedFeature

__all__ = ["check_interpreter"]


def check_interpreter() -> None:
    """Check that hosts can be opened in this interpreter.

    Configurations and their formats need no such check: they are plain Python, and lxml's own rules apply to XML.

    Raises:
        UnsupportedFeature: This is a subinterpreter, or the GIL is disabled.
    """
    if _is_subinterpreter():
        raise UnsupportedFeature(
            "pyxen opens hosts in the main interpreter only, and this is a subinterpreter: cffi, through which libxl "
            "is called, keeps its callbacks and types once for each process, and Python may end a subinterpreter's "
            "threads in the middle of a call. Call pyxen in the main interpreter (with mod_wsgi: "
            "WSGIApplicationGroup %{GLOBAL}), or in a process of its own",
            feature="subinterpreters",
        )
    if not _has_gil():
        raise UnsupportedFeature(
            "pyxen has not been tested without the GIL, and this free-threaded Python runs without it: start Python "
            "with PYTHON_GIL=1 or -X gil=1, or use the default build of Python",
            feature="free threading",
        )


def _is_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # Python 3.13 and newer; 3.11 and 3.12
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() != interpreters.get_main())
    return False  # a build without them


def _has_gil() -> bool:
    # A function of Python 3.13 and newer. On a free-threaded build, the GIL can be enabled at any time by the import of
    # an extension that needs it, but never disabled again.
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or bool(enabled())
