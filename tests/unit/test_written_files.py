"""Where pyxen opens a file for writing: why nobody else can have put something there that root's words go through."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import pyxen

SOURCE: Final = Path(pyxen.__file__).parent

WRITES: Final = {"write_text", "write_bytes", "touch", "mkfifo", "mknod", "FileHandler", "RotatingFileHandler"}
"""Functions and methods that write a file by its name."""

MOVES: Final = {"copy", "copy2", "copyfile", "copytree", "move"}
"""Functions of shutil that do."""

FOR_READING: Final = {"O_RDONLY", "O_PATH", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW"}

DEVICE: Final = "a device, a pipe or a file of the kernel"
NEW: Final = "a new file, whose name is in nobody's hands: O_EXCL follows no link"
OWN_FOLDER: Final = "its folder is new and private"
NO_LINK: Final = "O_NOFOLLOW"
READS: Final = "it reads: the flags are those of `open`, with one more"

REASONS: Final = {
    "_common/atomic_file.py: __init__: os.open": NEW,
    "_common/claims.py: add: open": OWN_FOLDER,
    "_common/file_content.py: _open_at_once: os.open": READS,
    "_common/overlays.py: make_overlay: os.open": NEW,
    "_common/own_files.py: open_own: os.open": NO_LINK,
    "_common/process_lock.py: lock_file: os.open": "it writes nothing; O_EXCL makes new ones, in a folder of root",
    "_common/whole_file.py: _replace: open": "the descriptor of a new file",
    "_common/whole_file.py: _write_file: open": "the descriptor of an older file, which is nobody else's",
    "_common/whole_file.py: _write_file: os.open": NO_LINK,
    "_common/whole_file.py: _write_open: open": "what is open already",
    "_common/whole_file.py: write_whole: open": DEVICE,
    "backends/memory/save.py: save: open": "the descriptor of a new file",
    "backends/xenlight/libxl/sockets.py: replace_by_null: os.open": DEVICE,
    "backends/xenlight/migration/remus.py: work: os.open": DEVICE,
    "backends/xenlight/operations/console.py: open_console: os.open": NO_LINK,
    "backends/xenlight/sysfs.py: try_write: os.open": DEVICE,
    "backends/xenlight/xenstore/connection.py: __init__: os.open": DEVICE,
    "cli/background.py: _opened_log: os.open": NO_LINK,
    "cli/background.py: _work: os.open": DEVICE,
    "cli/migrate_receive.py: take_over: os.open": DEVICE,
    "cli/quick.py: drop: os.open": DEVICE,
    "images/cloud.py: _write_cd: (content / name).write_text": OWN_FOLDER,
    "images/cloud.py: _write_cd: shutil.copyfile": NEW,
    "images/device.py: __init__: os.open": DEVICE,
    "images/device.py: _claimed: os.open": DEVICE,
    "images/distribution.py: _not_through_links: os.open": NO_LINK,
    "images/distribution.py: _put: open": NO_LINK,
    "images/distribution.py: _settle: open": NO_LINK,
    "images/target.py: _create: os.open": NEW,
    "serve/settings.py: _content: os.open": READS,
    "serve/sockets.py: _alone: os.open": NO_LINK,
    "storage/images.py: _reserve: os.open": NEW,
}
"""Each place, and why it is safe."""


def _flags(node: ast.expr) -> set[str]:
    """Return the flags of `os.open`, and the names of what is not a flag."""
    if isinstance(node, ast.BinOp):
        return _flags(node.left) | _flags(node.right)
    return {node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)}


def _mode(call: ast.Call) -> ast.expr | None:
    """Return the mode of `open`; of the method of a path, that is its first argument."""
    at = 1 if isinstance(call.func, ast.Name) else 0
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return given[0] if given else call.args[at] if len(call.args) > at else None


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name == "os.open":
        return not _flags(call.args[1]) <= FOR_READING
    if name in {"open", "io.open"} or (last == "open" and isinstance(call.func, ast.Attribute)):
        mode = _mode(call)
        if mode is None:
            return any(keyword.arg == "opener" for keyword in call.keywords) and name != "open"
        if not isinstance(mode, ast.Constant):
            return name in {"open", "io.open"}
        return isinstance(mode.value, str) and not set("wax+").isdisjoint(mode.value) and len(mode.value) <= 3
    return last in WRITES or name == "os.truncate" or (name.startswith("shutil.") and last in MOVES)


def _places(node: ast.AST, function: str = "") -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    if isinstance(node, ast.Call) and _writes(node):
        yield f"{function}: {ast.unparse(node.func)}"
    for child in ast.iter_child_nodes(node):
        yield from _places(child, function)


def _found() -> set[str]:
    return {
        f"{path.relative_to(SOURCE)}: {place}"
        for path in sorted(SOURCE.rglob("*.py"))
        for place in _places(ast.parse(path.read_text()))
    }


def test_whoever_writes_a_file_knows_what_lies_there() -> None:
    assert _found() == REASONS.keys()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open(path)", False),
        ("open(path, 'rb')", False),
        ("open(path, 'w')", True),
        ("open(path, mode='ab')", True),
        ("open(path, 'r+b')", True),
        ("open(path, how)", True),
        ("path.open('w')", True),
        ("path.open()", False),
        ("streams.open(number, source=ours)", False),
        ("os.open(path, os.O_RDONLY | os.O_CLOEXEC)", False),
        ("os.open(path, os.O_WRONLY)", True),
        ("os.open(path, flags | os.O_NOFOLLOW)", True),
        ("path.write_text(text)", True),
        ("shutil.copyfile(a, b)", True),
        ("os.truncate(path, 0)", True),
        ("config.copy()", False),
    ],
)
def test_what_writes_is_found(line: str, found: bool) -> None:
    assert bool(list(_places(ast.parse(line)))) is found
