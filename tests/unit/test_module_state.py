"""What modules remember, beside locks, in the child of a fork: each is named here, with the reason why it is right."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

SOURCE = Path(__file__).parents[2] / "src"

EMPTY: Final = (ast.Dict, ast.List, ast.Set)
MUTABLE: Final = {
    *("set", "dict", "list", "deque", "defaultdict", "Counter", "count", "local", "ContextVar"),
    *("WeakSet", "WeakKeyDictionary", "WeakValueDictionary", "Event", "Condition", "Semaphore", "Queue", "SimpleQueue"),
}

RIGHT: Final = {
    "pyxen._common.claims._OPEN": "the child lets go of each",
    "pyxen._common.process_lock._locked": "the child forgets all",
    "pyxen._common.stopping._CURRENT": "it belongs to the thread that forks, which goes on in the child",
    "pyxen._common.suspending._going": "the child forgets all",
    "pyxen._common.suspending._held": "the child forgets all",
    "pyxen._common.suspending._here": "it belongs to the thread that forks, which goes on in the child",
    "pyxen._common.xl_lock._held": "the child forgets all",
    "pyxen.aio._programs._RUNNING": "the child forgets all",
    "pyxen.backends.libvirt.event_loop._begun_by": "the process that began the loop, which is compared with this one",
    "pyxen.backends.libvirt.event_loop._ending": "the child has a new one",
    "pyxen.backends.libvirt.event_loop._open": "a host closes nothing in another process than its own",
    "pyxen.backends.memory.address._machines": "the child forgets all",
    "pyxen.backends.memory.address._options_of": "the child forgets all",
    "pyxen.backends.remote.link._OPEN": "the child lets go of each",
    "pyxen.backends.xenlight.libxl.builds.BUILDS": "the child forgets all",
    "pyxen.backends.xenlight.libxl.context._CONTEXTS": "the child lets go of each",
    "pyxen.backends.libvirt.unanswered._unmet": "the child forgets all",
    "pyxen.backends.xenlight.libxl.marshal._RECENT": "results that hold in every process, without a lock",
    "pyxen.backends.xenlight.operations.names._RESERVED": "the child forgets all",
    "pyxen.backends.xenlight.operations.passthrough._GIVEN": "the child forgets all",
    "pyxen.backends.xenlight.operations.threaded_operations._ALL": "they close nothing in another process than theirs",
    "pyxen.backends.xenlight.xenstore.connection._CHANNELS": "the child closes each",
    "pyxen.config.base._FIELDS": "results that hold in every process, without a lock",
    "pyxen.distributed.worker._CALLS": "it is asked for workers of Dask, which are not those of the parent",
    "pyxen.libvirtxml.unread._BY_PATH": "a table, filled while its module is loaded",
    "pyxen.metrics.catalogue.METRICS": "a table, filled while its module is loaded",
    "pyxen.metrics.exporter._LISTENING": "the child lets go of each",
    "pyxen.testing.fakehost._number": "hosts in memory belong to one process, and so do their numbers",
    "pyxen.xlcfg.lint_meaning._BY_FIELD": "a table, filled while its module is loaded",
    "pyxen.xlcfg.pci._NO_DEFAULTS": "it stays empty",
}


def remembered(module: str, source: str) -> set[str]:
    """Return the names of a module's variables that change while it is used."""
    tree = ast.parse(source)
    found = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and _is_mutable(node.value):
            found.add(target.id)
    return {f"{module}.{name}" for name in found}


def _is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, EMPTY):
        return not ast.unparse(value).strip("{}[]")  # what is filled where it is made is a table
    if not isinstance(value, ast.Call):
        return False
    function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in MUTABLE and (name not in {"set", "dict", "list", "deque"} or not value.args)


def test_each_is_right_in_the_child_of_a_fork() -> None:
    found: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        found |= remembered(".".join(path.relative_to(SOURCE).with_suffix("").parts), path.read_text())
    found -= {name for name in found if name.endswith(("._lock", "._gate"))}  # test_module_locks.py has them
    assert found - RIGHT.keys() == set(), "is it right in the child of a fork? See os.register_at_fork"
    assert RIGHT.keys() - found == set(), "they are no more: take them out"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("x = set()", True),
        ("x: Final[dict[str, int]] = {}", True),
        ("x = weakref.WeakSet[int]()", True),
        ("x: Final = itertools.count(1)", True),
        ("def f():\n    global x\n    x = 1", True),
        ("x = {'a': 1}", False),
        ("x = frozenset()", False),
        ("def f():\n    x = set()", False),
    ],
)
def test_what_is_found(source: str, is_found: bool) -> None:
    assert bool(remembered("m", source)) is is_found
