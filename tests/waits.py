"""Finds, in a program's text, what may wait for ever: waits that have no bound, and loops of waits that have no end."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Wait", "unbounded"]

_PROGRAMS = {"run", "call", "check_call", "check_output"}

_PAUSES = {"sleep", "select", "poll", "wait"}
"""Calls that make a loop one that waits, whatever bound each of them has."""

_CLOCK = re.compile(r"monotonic|perf_counter|deadline|patience|\buntil\b|\bleft\(\)|\btime\(\)")
"""What a loop that ends in time speaks of."""


class Wait(NamedTuple):
    """A wait without a bound: its line, in which class and function it is, and what stands there."""

    line: int
    place: str
    text: str


def unbounded(source: str, *, strict: bool) -> Iterator[Wait]:
    """Find the waits in a program's text that have no bound.

    Args:
        source: The text.
        strict: Look at ``.wait()`` and ``.get()`` too, which in tests are operations, that have deadlines of their own;
            and at ``os.waitpid``: tests wait for children that they have told to end.
    """
    yield from _Finder(strict).found(ast.parse(source), "", in_time=False)


class _Finder:
    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._ends = {"communicate", "join", "wait", "get"} if strict else {"communicate", "join"}

    def found(self, node: ast.AST, place: str, *, in_time: bool) -> Iterator[Wait]:
        """Find them in a part of the text; `in_time`: asyncio.timeout is around it, or an await."""
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{place}.{node.name}".lstrip(".")
        if isinstance(node, ast.AsyncWith):
            in_time |= any("timeout" in ast.unparse(item.context_expr) for item in node.items)
        if isinstance(node, ast.While) and not in_time and _never_ends(node):
            yield Wait(node.lineno, place, f"while {ast.unparse(node.test)}: …")
        if isinstance(node, ast.Call) and not in_time and self._waits(node):
            yield Wait(node.lineno, place, ast.unparse(node))
        for below in ast.iter_child_nodes(node):
            yield from self.found(below, place, in_time=in_time or isinstance(node, ast.Await))

    def _waits(self, call: ast.Call) -> bool:
        if not isinstance(call.func, ast.Attribute):
            return False
        method, text = call.func.attr, ast.unparse(call)
        named = {keyword.arg for keyword in call.keywords}
        program = method in _PROGRAMS and ast.unparse(call.func.value) == "subprocess" and "timeout" not in named
        lock = method in {"flock", "lockf"} and "LOCK_NB" not in text and "LOCK_UN" not in text
        child = self._strict and method in {"waitpid", "waitid"} and "WNOHANG" not in text
        without_time = len(call.args) < (2 if method == "communicate" else 1) and "timeout" not in named
        return program or lock or child or (method in self._ends and without_time)


def _never_ends(loop: ast.While) -> bool:
    calls = [node for node in ast.walk(loop) if isinstance(node, ast.Call)]
    names = {getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls}
    return bool(names & _PAUSES) and not _CLOCK.search(ast.unparse(loop))
