"""Interpreters in which hosts cannot be opened: subinterpreters, and those without the GIL."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import pytest

import pyxen
from tests.waiting import SECONDS

IN_A_SUBINTERPRETER = """
import sys
sys.path[:] = {path!r}
import pyxen
assert pyxen.xlcfg.loads("name='web'\\nkernel='/k'\\nmemory=64\\n").memory == 64
for uri in ("xenlight:///", "memory:///", "xen:///system"):
    try:
        pyxen.connect(uri)
    except pyxen.UnsupportedFeature as error:
        assert "subinterpreter" in str(error) and "main interpreter" in str(error), error
        print("refused")
sys.stdout.flush()
"""


def _subinterpreters() -> Any:
    """Return the interpreter's module of subinterpreters, whose name depends on Python's release."""
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    return importlib.import_module(name)


def test_a_subinterpreter_opens_no_host() -> None:
    code = (
        f"import {_subinterpreters().__name__} as interpreters\n"
        "failed = None\n"
        "try:\n"
        f"    failed = interpreters.run_string(interpreters.create(), {IN_A_SUBINTERPRETER.format(path=sys.path)!r})\n"
        "except Exception as error:\n"
        "    failed = error\n"
        "import pyxen\n"
        "pyxen.connect('memory:///').close()\n"  # the main interpreter still does
        "assert not failed, failed\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 3), done.stderr


def test_without_the_gil_no_host_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(pyxen.UnsupportedFeature, match="PYTHON_GIL=1"):
        pyxen.connect("memory:///")
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    pyxen.connect("memory:///").close()
