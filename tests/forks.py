"""What is left of a host in a child of the process that opened it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import pyxen
from pyxen import DomainConfig

__all__ = ["check_no_lock_is_waited_for", "locks_of", "locks_of_modules", "told_by_a_child", "told_under"]

_BOUND: Final = 60.0
"""Seconds within which a child has made all of its calls, also on a busy machine."""

_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
_PARTS: Final = ("pyxen.", "builtins", "collections", "functools", "threading", "concurrent.futures", "weakref")
_TRIED: Final = {"_Running", "_GivingBack", "_Closing"}
"""Owners of locks that decide who is first, and then stay taken: nobody waits for one."""
_OTHERS: Final = (type, types.ModuleType, types.FrameType, types.CodeType, threading.Thread)


def told_by_a_child(calls: Iterable[Callable[[], object]]) -> list[str]:
    """Fork, and return what each of the calls gives in the child: its result, or the name of the error it raises.

    The list ends with ``hangs`` if a call does not return.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # it only reports, and never comes back to pytest
        for call in calls:
            os.write(write, f"{_told(call)}\n".encode())
        os._exit(0)
    os.close(write)
    said, end = b"", time.monotonic() + _BOUND
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            data = pipe.read(4096)
            if not data:
                break
            said += data
        else:
            said += b"hangs\n"
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said.decode().splitlines()


def _told(call: Callable[[], object]) -> str:
    try:
        return repr(call())
    except BaseException as error:  # noqa: BLE001 (it is reported)
        return type(error).__name__


def check_no_lock_is_waited_for(
    host: pyxen.Host, domain: pyxen.Domain, config: DomainConfig, **others: Callable[[], object]
) -> list[str]:
    """Hold each lock of a host in turn on another thread, and use the host in a child that is forked meanwhile.

    Args:
        host: A host, with what leads to its locks.
        domain: A domain of it, that runs.
        config: The configuration of another one.
        **others: Further calls, which raise `HostClosed`.

    Returns:
        The names of the locks.
    """
    events, operation = host.events(), domain.begin.wait("crashed", timeout=120)
    refused: dict[str, Callable[[], object]] = {
        "list": host.list,
        "info": host.info,
        "stats": host.stats,
        "events": host.events,
        "create": lambda: host.create(config),
        "begin.create": lambda: host.begin.create(config),
        "Domain.info": domain.info,
        "destroy": domain.destroy,
        "events.get": lambda: events.get(0),
        "Operation.result": operation.result,
        "Operation.exception": operation.exception,
        **others,
    }
    wanted = dict.fromkeys(refused, "HostClosed")
    harmless: dict[str, Callable[[], object]] = {"done": operation.done, "cancel": operation.cancel}
    wanted |= dict.fromkeys(harmless, "False")
    closes: dict[str, Callable[[], object]] = {"events.close": events.close, "close": host.close}
    wanted |= dict.fromkeys(closes, "None")
    calls = refused | harmless | closes
    locks = list(locks_of([host, domain, events, operation]))
    told = {name: told_under([lock], calls) for name, lock in locks}
    wrong = {name: set(wanted.items()) ^ set(found.items()) for name, found in told.items() if found != wanted}
    assert not wrong
    assert not operation.done()  # the parent goes on
    operation.cancel()
    assert isinstance(operation.exception(60), pyxen.OperationCancelled)
    events.close()
    assert domain.info().domid == domain.domid
    return [name for name, _ in locks]


def told_under(locks: Iterable[Any], calls: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """Return what each of the calls gives in a child, forked while another thread holds the locks."""
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                if not lock.acquire(timeout=_BOUND):
                    return
                stack.callback(lock.release)
            held.set()
            go_on.wait(2 * _BOUND)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(_BOUND), "the lock is never free"
        return dict(zip(calls, told_by_a_child(calls.values()), strict=False))
    finally:
        go_on.set()
        thread.join(_BOUND)


def locks_of_modules() -> Iterator[tuple[str, Any]]:
    """Yield the locks that pyxen's modules lead to, each with the name of its module and of its owner.

    All modules are imported. What the globals and the attributes of the classes lead to is looked at.
    """
    for found in pkgutil.walk_packages(pyxen.__path__, "pyxen."):
        importlib.import_module(found.name)
    seen: set[int] = set()
    for name, module in sorted(sys.modules.items()):
        if name.startswith("pyxen"):
            own = list(vars(module).values())
            of_classes = [part for each in own if isinstance(each, type) for part in vars(each).values()]
            for owner, lock in locks_of([*own, *of_classes]):
                if id(lock) not in seen:
                    seen.add(id(lock))
                    yield f"{name} {owner}", lock


def locks_of(roots: list[object]) -> Iterator[tuple[str, Any]]:
    """Yield the locks that these objects lead to, each with the name of its owner and a number."""
    seen: dict[int, object] = {}
    waiting: list[tuple[object, str]] = [(roots, "")]
    while waiting:
        thing, owner = waiting.pop()
        if type(thing).__module__.startswith("pyxen."):
            owner = type(thing).__name__
        for part in _parts_of(thing):
            if id(part) in seen:
                continue
            seen[id(part)] = part
            if isinstance(part, _LOCKS):
                if owner not in _TRIED:
                    yield f"{owner} {len(seen)}", part
            elif type(part).__module__.startswith(_PARTS) and not isinstance(part, _OTHERS):
                waiting.append((part, owner))


def _parts_of(thing: object) -> list[object]:
    if isinstance(thing, threading.Condition):
        return [thing._lock]  # type: ignore[attr-defined]  # the locks of those that wait are always held
    if isinstance(thing, types.FunctionType):
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    if isinstance(thing, dict) and "__loader__" in thing:  # a module's
        return []
    return gc.get_referents(thing)
