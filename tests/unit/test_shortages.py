"""Where pyxen asks for a descriptor or a thread: a shortage is an error that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyxen

SOURCE: Final = Path(pyxen.__file__).parent

ASKING: Final = {
    *("os.eventfd", "os.pipe", "os.pipe2", "os.dup", "os.memfd_create", "os.pidfd_open", "_thread.start_new_thread"),
    *("socket.socket", "socket.socketpair", "socket.create_connection", "selectors.DefaultSelector", "select.epoll"),
    *("_socket.socket", "subprocess.Popen", "submit", "map", "start"),
}
"""What may find a shortage: functions by their full names, and methods of threads and of pools."""

OF_CALLER: Final = "its caller is within `shortage`"
CAUGHT: Final = "`except OSError` there, or in its caller, looks for a shortage or gives its reason"
AT_CLOSE: Final = "it is closed later or here: `except RuntimeError` says how"
OF_COMMAND: Final = "the command ends with the error, before it has begun anything"

OTHERWISE: Final = {
    "_common/child.py: __init__: os.pidfd_open": "without one, the child is waited for by its number",
    "_common/owner_thread.py: start: start": OF_CALLER,
    "_common/piped_program.py: __init__: start": OF_CALLER,
    "_common/piped_program.py: _pipe: os.pipe": OF_CALLER,
    "_common/piped_program.py: hang_up: start": "the program ends by itself, and its status stays unknown",
    "_common/programs.py: _input: os.memfd_create": OF_CALLER,
    "_common/programs.py: _pipe: os.pipe2": OF_CALLER,
    "_copies/pool_keeper.py: abandon: start": AT_CLOSE,
    "_lifetime.py: abandon: _thread.start_new_thread": AT_CLOSE,
    "aio/readers/_reader.py: __del__: _thread.start_new_thread": AT_CLOSE,
    "readers/_reader.py: __del__: _thread.start_new_thread": AT_CLOSE,
    "testing/fakehost.py: __del__: _thread.start_new_thread": AT_CLOSE,
    "backends/remote/client.py: _on_end: start": AT_CLOSE,
    "backends/remote/local.py: _connected: socket.socket": CAUGHT,
    "backends/remote/streams.py: _begin: start": OF_CALLER,
    "backends/remote/streams.py: _write: socket.socket": "it makes no descriptor",
    "backends/xenlight/libxl/context.py: __init__: os.eventfd": OF_CALLER,
    "backends/xenlight/libxl/event_loop.py: __init__: start": OF_CALLER,
    "backends/xenlight/libxl/sockets.py: connections: os.dup": OF_CALLER,
    "backends/xenlight/libxl/sockets.py: connections: socket.socket": OF_CALLER,
    "backends/xenlight/libxl/hung_xenstored.py: add: start": OF_CALLER,
    "backends/xenlight/libxl/process_workers.py: __init__: socket.socketpair": CAUGHT,
    "backends/xenlight/libxl/process_workers.py: close: start": "its end is waited for without a thread",
    "backends/xenlight/operations/qemu_disks.py: __init__: socket.socket": OF_CALLER,
    "backends/xenlight/operations/qemu_disks.py: qemu_disks: selectors.DefaultSelector": OF_CALLER,
    "backends/xenlight/operations/qmp.py: has_ended: socket.socket": CAUGHT,
    "backends/xenlight/quick_list.py: _values: _socket.socket": "the slower way is taken, which says it",
    "backends/xenlight/xenstore/connection.py: __init__: socket.socket": CAUGHT,
    "backends/xenlight/xenstore/watcher.py: __init__: os.eventfd": OF_CALLER,
    "cli/background.py: in_background: os.pipe": OF_COMMAND,
    "cli/completion.py: _asked: start": "nothing is offered",
    "cli/migrate_receive.py: take_over: os.dup": OF_COMMAND,
    "cli/viewer.py: _start: subprocess.Popen": OF_COMMAND,
    "serve/sockets.py: _remove_stale: socket.socket": CAUGHT,
    "serve/sockets.py: made_socket: socket.socket": CAUGHT,
    "serve/sockets.py: passed_socket: socket.socket": "it makes no descriptor",
}
"""Calls that are not made within `shortage`, and what becomes of a shortage there."""


def _name(call: ast.Call) -> str:
    found = ast.unparse(call.func)
    return found if found in ASKING else found.rpartition(".")[2]


def _asks(call: ast.Call, imported: set[str]) -> bool:
    name = _name(call)
    if name == "start":  # of a thread: others have arguments, or are of no module with threads
        return not call.args and not call.keywords and "threading" in imported
    if name in {"submit", "map"}:  # of a pool
        return "ThreadPoolExecutor" in imported
    return name in ASKING


def _calls(node: ast.AST, imported: set[str], function: str, *, within: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield function and name of each such call, and whether it is within `shortage`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function, within = node.name, False
    if isinstance(node, ast.With):
        within = within or any(ast.unparse(item.context_expr).startswith("shortage(") for item in node.items)
    if isinstance(node, ast.Call) and _asks(node, imported):
        yield function, _name(node), within
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, imported, function, within=within)


def _bare() -> set[str]:
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        imported = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
        imported |= {each.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for each in node.names}
        for function, name, within in _calls(tree, imported, "", within=False):
            if not within:
                found.add(f"{path.relative_to(SOURCE)}: {function}: {name}")
    return found


def test_whoever_asks_for_a_descriptor_or_a_thread_says_what_a_shortage_means() -> None:
    assert _bare() == OTHERWISE.keys()
