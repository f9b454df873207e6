"""The tree of exceptions: as its docstring draws it, catchable as builtins, whole after pickling."""

from __future__ import annotations

import builtins
import copy
import errno
import inspect
import pickle
import re
from collections.abc import Iterator

import pytest

from pyxen import DomainConfig, Loss, errors
from pyxen.testing import FakeHost

CLASSES = [getattr(errors, name) for name in errors.__all__]

LINE = re.compile(r"(?P<lead>[ │├└─]*)(?:pyxen\.)?(?P<name>[A-Z]\w+)(?: \((?P<builtin>\w+)\))?")


def drawn() -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (class, its parent, the builtin in brackets) from the tree in the docstring."""
    above: list[str] = []
    for line in (errors.__doc__ or "").partition("::\n\n")[2].splitlines():
        match = LINE.match(line.removeprefix("    "))
        assert match, line
        depth = len(match["lead"]) // 4
        above[depth:] = [match["name"]]
        yield match["name"], above[depth - 1] if depth else None, match["builtin"]


DRAWN = list(drawn())


def test_the_drawing_shows_every_class_once() -> None:
    assert sorted(name for name, _, _ in DRAWN) == sorted(errors.__all__)
    defined = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
    assert {cls.__name__ for cls in defined} == set(errors.__all__)


@pytest.mark.parametrize(("name", "parent", "builtin"), DRAWN)
def test_parents_are_as_drawn(name: str, parent: str | None, builtin: str | None) -> None:
    cls = getattr(errors, name)
    wanted = [getattr(errors, parent)] if parent else [Exception]
    wanted += [getattr(builtins, builtin)] if builtin else []
    assert list(cls.__bases__) == wanted


def examples() -> list[errors.Error]:
    found: list[errors.Error] = [cls("what is wrong") for cls in CLASSES]
    for cls in CLASSES:
        if issubclass(cls, errors.OperationFailed):
            found.append(cls("no", operation="create", domain="web1", domid=7, code=-3, log=("one", "two")))
        if issubclass(cls, errors.ConfigError) and cls is not errors.LossyConversion:
            found.append(cls("no", path="disks[1].vdev"))
    return [
        *found,
        errors.ParseError("no", line=3, column=7, source="web1.cfg", path="disk"),
        errors.ValidationError("no", path="memory", problems=("memory: too much", "vcpus: none")),
        errors.LossyConversion("no", losses=(Loss("vtpm", "", "XML cannot say it"),)),
        errors.UnsupportedFeature("no", feature="x", backend="xenlight (Xen 4.17)"),
    ]


def pickled(error: errors.Error, protocol: int = pickle.DEFAULT_PROTOCOL) -> errors.Error:
    again: errors.Error = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 (our own bytes)
    return again


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_pickling_keeps_everything(error: errors.Error) -> None:
    error.add_note("seen on the way")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickled(error, protocol)
        assert type(again) is type(error)
        assert (str(again), again.message, again.args) == (str(error), error.message, error.args)
        assert vars(again) == vars(error)
    assert vars(copy.copy(error)) == vars(error)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_message_is_there(cls: type[errors.Error]) -> None:
    error = cls("say what to do")
    assert str(error) == error.message == "say what to do"
    assert error.args == ("say what to do",)


def test_a_failure_tells_what_it_was_about_and_what_libxl_said() -> None:
    error = errors.DomainNotFound("it is gone", operation="pause", domain=7, code=-21, log=("xc: no", "really"))
    assert str(error) == "pause 7: it is gone\n  libxl: xc: no\n  libxl: really"
    assert str(errors.OperationFailed("no", domain=0)) == "0: no"
    with pytest.raises(LookupError):
        raise error


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (errors.FileMissing, errno.ENOENT),
        (errors.NotPrivileged, errno.EACCES),
        (errors.XenstoreDenied, errno.EACCES),
        (errors.OperationTimeout, errno.ETIMEDOUT),
        (errors.GuestTimeout, errno.ETIMEDOUT),
        (errors.ConnectFailed, None),
    ],
)
def test_an_os_error_has_the_number_that_fits(cls: type[errors.Error], code: int | None) -> None:
    error = cls("no")
    assert isinstance(error, OSError)
    assert (error.errno, str(error)) == (code, "no")
    error.errno = errno.EPERM
    again = pickled(error)
    assert isinstance(again, OSError)
    assert again.errno == errno.EPERM


def test_some_clones_that_failed_are_told_in_another_process() -> None:
    with FakeHost() as host:
        made = host.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        error = errors.CloneFailed("one failed", results=(made, errors.NotEnoughMemory("no")))
        again = pickled(error)
    assert isinstance(again, errors.CloneFailed)
    assert again.results[0] == (made.domid, made.uuid, "web1")
    assert isinstance(again.results[1], errors.NotEnoughMemory)
    assert error.results[0] is made
    assert isinstance(pickled(again), errors.CloneFailed)


def test_a_missing_file_is_named_as_an_os_error_names_it() -> None:
    error = errors.FileMissing("no such file", operation="create")
    error.filename = "/boot/vmlinuz"
    again = pickled(error)
    assert isinstance(again, FileNotFoundError)
    assert error.filename == again.filename == "/boot/vmlinuz"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({"line": 3, "column": 7, "source": "web1.cfg"}, "web1.cfg:3:7: no"),
        ({"line": 3}, "3: no"),
        ({"source": "web1.cfg"}, "web1.cfg: no"),
        ({}, "no"),
    ],
)
def test_a_parse_error_tells_its_place(place: dict[str, object], text: str) -> None:
    assert str(errors.ParseError("no", **place)) == text  # type: ignore[arg-type]  # a table of keyword arguments
