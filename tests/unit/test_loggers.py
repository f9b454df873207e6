"""A log handler that raises breaks nothing: read from the sources, every module logs by a shielded logger."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "pyxen"

SHIELD = PACKAGE / "_common" / "shield.py"

SETS_UP = {"addHandler", "removeHandler", "setLevel", "addFilter", "isEnabledFor"}
"""What may be done with a logger that is not shielded: it calls no handler."""

LOGS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def unshielded(source: str) -> Iterator[int]:
    """Yield the lines that make a logger which is not shielded, or log by the module `logging` itself."""
    tree = ast.parse(source)
    set_up = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in SETS_UP
    }  # logging.getLogger(...).setLevel
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "logging":
            if {alias.name for alias in node.names} & (LOGS | {"getLogger", "*"}):
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_logging = isinstance(node.func.value, ast.Name) and node.func.value.id == "logging"
            if is_logging and (node.func.attr in LOGS or (node.func.attr == "getLogger" and id(node) not in set_up)):
                yield node.lineno


def test_every_module_logs_by_a_shielded_logger() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != SHIELD]
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path in files for line in unshielded(path.read_text())]
    assert found == [], "take pyxen._common.shield.logger instead"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("_LOG = logging.getLogger('pyxen.x')", True),
        ("logging.getLogger(__name__).warning('no')", True),
        ("logging.warning('no')", True),
        ("from logging import getLogger", True),
        ("_LOG = logger('pyxen.x')\n_LOG.warning('no')", False),
        ("logging.getLogger('pyxen').addHandler(logging.NullHandler())", False),
        ("logging.getLogger('pyxen.x').setLevel(logging.INFO)", False),
    ],
)
def test_what_is_found(source: str, is_found: bool) -> None:
    assert bool(list(unshielded(source))) is is_found
