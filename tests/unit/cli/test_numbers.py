"""Numbers that make no sense, given to every command that takes numbers: each is refused with a message."""

from __future__ import annotations

import enum
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest
from typer.models import ArgumentInfo, OptionInfo

from pyxen import ConnectFailed
from pyxen.cli.status import ExitStatus
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB, Run
from tests.unit.cli.test_attacks import EVERY, controls

VALUES = ["-1", "0", "9" * 30, "1e400", "nan", "inf", "", "\x1b[2J"]

WRITTEN = {
    *("cbm", "controller", "cpus", "devid", "hard", "memory", "pool", "sockets", "soft", "size", "throttle"),
    *("vcpu", "vdev", "vif"),
}
"""Parameters that are texts, and in which people write numbers."""

WORDS = {
    "domain": "web1",
    "name": "no-such-group/web1",
    "snapshot": "no-such-group/web2",
    "button": "nmi",
    "host_name": "host2",
    "target": "x.qcow2",
    "path": "p",
}
"""What is given for the other arguments, which are 0 if they are not here."""

NEEDED = {
    "sched-credit": ["-d", "web1"],
    "sched-credit2": ["-d", "web1"],
    "sched-rtds": ["-d", "web1"],
    "image cloud": ["--hostname", "web1", "--password-file", "password"],
    "image distribution": ["--hostname", "web1", "--password-file", "none", "--suite", "bookworm"],  # it begins nothing
    "exporter": ["--listen", "192.0.2.1:1"],  # no address of this machine: it ends
}
"""The options that a command needs."""

GO_ON = {"autostart start", "autostart stop", "console", "events", "supervise", "top", "xenstore watch"}
"""Commands that would go on, or start programs of the host: they find no host."""


def parameters(name: str) -> dict[str, tuple[Any, ArgumentInfo | OptionInfo]]:
    """Return the parameters of a command, each with its type."""
    hints = typing.get_type_hints(EVERY[name], include_extras=True)
    return {
        key: (hint.__origin__, hint.__metadata__[0]) for key, hint in hints.items() if hasattr(hint, "__metadata__")
    }


def is_number(key: str, kind: Any) -> bool:
    kinds = {*typing.get_args(kind), kind, *(part for each in typing.get_args(kind) for part in typing.get_args(each))}
    return bool(kinds & {int, float}) or (key in WRITTEN and kind is not bool)


def lines_of(name: str, tried: str) -> list[tuple[list[str], int]]:
    """Return command lines in which a parameter is tried, each with the place of its value."""
    _, info = parameters(name)[tried]
    words = [*name.split(), *NEEDED.get(name, [])]
    if "yes" in parameters(name):
        words.append("--yes")
    needed = {key: each.default for key, each in inspect.signature(EVERY[name]).parameters.items()}
    arguments = [
        key
        for key, (_, each) in parameters(name).items()
        if isinstance(each, ArgumentInfo) and (key == tried or needed[key] is inspect.Parameter.empty)
    ]
    given = [_word(key, parameters(name)[key][0]) for key in arguments]
    if isinstance(info, ArgumentInfo):
        return [([*words, "--", *given], len(words) + 1 + arguments.index(tried))]
    said = [each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str)]  # as typer reads them
    option = said[0] if said else "--" + tried.replace("_", "-")
    lines = [([*words, option, "", "--", *given], len(words) + 1)]
    if "of_pool" in parameters(name):
        lines.append(([*name.split(), "-s", option, ""], len(name.split()) + 2))
    return lines


def _word(key: str, kind: Any) -> str:
    members = list(kind) if isinstance(kind, type) and issubclass(kind, enum.Enum) else []
    return WORDS.get(key, str(members[0]) if members else "0")


NUMBERS = [(name, key) for name in EVERY for key, (kind, _) in parameters(name).items() if is_number(key, kind)]


def test_what_is_tried() -> None:
    assert {("sched-credit", "cap"), ("vcpu-set", "vcpus"), ("image cloud", "size")} <= {*NUMBERS}
    assert {("supervise", "max_delay"), ("volume create", "size"), ("vkb-detach", "devid")} <= {*NUMBERS}


@pytest.mark.parametrize(("name", "tried"), NUMBERS)
def test_a_number_that_makes_no_sense_is_refused_with_a_message(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, tried: str
) -> None:
    def no_host(*_arguments: object) -> Any:
        raise ConnectFailed("there is no host")

    (tmp_path / "password").write_text("secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of this machine is started
    with monkeypatch.context() as patches:  # undone before the host stops standing in for all of them
        if name in GO_ON:
            patches.setattr("pyxen.connection.open_backend", no_host)
        for value in VALUES:
            if "web1" not in host.domains:
                host.create(WEB)
            for words, place in lines_of(name, tried):
                words[place] = value
                result = run(*words, input="")
                assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
                assert result.exit_code in [*ExitStatus], words
                assert result.exit_code == 0 or result.stderr != "", words
                assert controls(result.output) == set(), words
