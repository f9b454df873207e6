"""The command itself, with and without what it needs."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import pyxen
import pyxen.cli.app as application
from pyxen.backends.xenlight.libxl.loader import built_releases
from pyxen.cli import places, root
from pyxen.cli.app import app
from tools import command, libxl_table

HIDING = (
    "import sys\n"
    "class Hide:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == {missing!r}: raise ModuleNotFoundError('hidden', name=name)\n"
    "sys.meta_path.insert(0, Hide())\n"
    "from pyxen.cli import main\n"
    "sys.exit(main())\n"
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_version() -> None:
    version, extension = CliRunner().invoke(app, ["--version"]).stdout.splitlines()
    assert version == f"pyxen {pyxen.__version__}"
    releases = ", ".join(built_releases())
    assert extension == f"libxl extension: {f'Xen {releases}' if releases else 'not built'}"


def test_help() -> None:
    result = CliRunner().invoke(app, ["-h"])
    assert result.exit_code == 0
    assert "convert" in result.stdout
    assert "lint" in result.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    done = run(HIDING.format(missing=missing))
    assert done.returncode == 2
    assert "pip install 'pyxen[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_module_of_our_own_is_not_blamed_on_the_extra() -> None:
    done = run(HIDING.format(missing="pyxen.cli.lint"))
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr


def test_as_a_program() -> None:
    done = run("import sys; from pyxen.cli import main; sys.exit(main())", "lint", "/nonexistent")
    assert done.returncode == 2
    assert "/nonexistent" in done.stderr


PROGRAM = "import sys; from pyxen.cli import main; sys.exit(main())"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "a.cfg"
    path.write_text('# precious\nname = "a"\ntype = "hvm"\nmemory = 64\nvcpu = 1\n')
    return path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``pyxen`` is the command."""
    script = f'pyxen() {{ "$PYTHON" -c "$PROGRAM" "$@"; }}\n{line}\n'
    environment = os.environ | {"PYTHON": sys.executable, "PROGRAM": PROGRAM}
    environment.pop("PYTHONUNBUFFERED", None)  # with buffers, as users have it
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


COMMANDS = ["lint a.cfg", "lint --format json a.cfg", "convert a.cfg --to xl", "convert a.cfg --to json"]


@pytest.mark.parametrize("command", [*COMMANDS, "--help", "--version", "lint --help"])
def test_an_output_that_is_full(command: str, config: Path) -> None:
    done = shell(f"pyxen {command} > /dev/full", config.parent)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in done.stderr
    assert "a.cfg" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_is_closed(command: str, config: Path) -> None:
    done = shell(f"pyxen {command} >&-", config.parent)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: standard output: it is closed"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS[::2])
def test_messages_that_go_nowhere(command: str, config: Path) -> None:
    full, closed, plain = (shell(f"pyxen {command} 2>{to}", config.parent) for to in ("/dev/full", "&-", "/dev/null"))
    assert (full.stdout, full.returncode) == (closed.stdout, closed.returncode) == (plain.stdout, plain.returncode)
    assert "a" in plain.stdout


@pytest.mark.parametrize(
    ("command", "status"), [("lint nothing.cfg", 2), ("no-such-command", 2), ("--uri nowhere:/// list", 5)]
)
def test_a_failure_that_cannot_be_told(command: str, status: int, config: Path) -> None:
    for to in ("/dev/full", "&-", "/dev/null"):
        assert shell(f"pyxen {command} 2>{to}", config.parent).returncode == status


@pytest.mark.parametrize("command", [*COMMANDS[::2], "--help"])
def test_an_output_that_nobody_reads(command: str, config: Path) -> None:
    # The reader has gone for certain before anything is written.
    done = shell(f"{{ sleep 0.1; pyxen {command}; echo $? >&3; }} 3> status | true", config.parent)
    assert (config.parent / "status").read_text().strip() == ("1" if command == "--help" else "141")
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_input_that_is_closed(config: Path) -> None:
    done = shell("pyxen lint - <&-", config.parent)
    assert done.returncode == 2
    assert done.stderr == "error: <stdin>: Bad file descriptor\n"


@pytest.mark.parametrize("line", ["a.cfg -o a.cfg", "a.cfg -o ./a.cfg", "a.cfg -o link", "- -o a.cfg < a.cfg"])
def test_the_source_is_not_overwritten_unasked(line: str, config: Path) -> None:
    (config.parent / "link").symlink_to("a.cfg")
    before = config.read_text()
    done = shell(f"pyxen convert --to xl {line}", config.parent)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert config.read_text() == before
    forced = shell(f"pyxen convert --force --to xl {line}", config.parent)
    assert forced.returncode == 0
    assert config.read_text() == 'name = "a"\ntype = "hvm"\nmemory = 64\n'


def test_a_dash_is_standard_output(config: Path) -> None:
    done = shell("pyxen convert a.cfg --to xl -o -", config.parent)
    assert done.stdout == 'name = "a"\ntype = "hvm"\nmemory = 64\n'
    assert not (config.parent / "-").exists()


def test_several_files_are_told_apart(config: Path) -> None:
    (config.parent / "b.cfg").write_text("name = 'b'\ntype = 'hvm'\nmemory = 5\nacpo = 1\n")
    done = shell("pyxen lint a.cfg nothing b.cfg", config.parent)
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line[0] != " "] == ["a.cfg", "b.cfg"]
    assert done.stderr == "error: nothing: No such file or directory\n"


@pytest.mark.parametrize("xen", ["3.0", "unstable"])
def test_a_release_that_is_not_known_is_not_the_files_fault(xen: str, config: Path) -> None:
    done = shell(f"pyxen lint a.cfg --xen {xen}", config.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")
    assert "--xen" in done.stderr
    assert xen in done.stderr
    assert "a.cfg" not in done.stderr


@pytest.mark.parametrize(("command", "files"), [("lint", "FILE..."), ("convert", "FILE")])
def test_the_usage_says_how_many_files_there_can_be(command: str, files: str) -> None:
    usage = CliRunner().invoke(app, [command]).stderr.splitlines()[0]
    assert usage.endswith(f" {{{files}}}" if not files.endswith("...") else " {FILE}..."), usage


built_once = functools.cache(lambda: typer.main.get_command(app))

OWN = {"console", "supervise", "exporter", "migrate-receive", "devd", "convert", "lint", "completion", "serve"}
"""Commands that run on, write a file, or have a format of their own."""

OF_THIS_MACHINE = {"autostart enable", "autostart disable", "doctor", "image distribution", "image cloud"}
"""Commands that only look at this machine, or change its files."""

EVERY = [
    *((name, command) for commands in application.COMMANDS.values() for name, command in commands.items()),
    *(
        (f"{group} {name}", command)
        for group, (_, commands) in application.GROUPS.items()
        for name, command in commands.items()
    ),
]


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_every_command_says_what_its_json_is(name: str, command: Callable[..., None]) -> None:
    parameters = inspect.signature(command).parameters
    assert ("as_json" in parameters) == (name not in OWN)
    assert ("JSON: " in (command.__doc__ or "")) == (name not in OWN)
    assert ("uri" in parameters) == (
        name not in (OWN | OF_THIS_MACHINE) - {"console", "exporter", "serve", "supervise", "migrate-receive"}
    )


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_every_command_has_an_example(name: str, command: Callable[..., None]) -> None:
    """The example is a line that the command understands: it is read, but not carried out."""
    examples = re.findall(r"^ *Example: (.*)$", command.__doc__ or "", re.MULTILINE)
    assert len(examples) == 1
    line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", examples[0].partition(" > ")[0])
    words = shlex.split(line)
    shown: Any = built_once()
    assert words[: 1 + len(name.split())] == ["pyxen", *name.split()]
    for part in name.split():
        shown = shown.commands[part]
    read = shown.make_context(name, words[1 + len(name.split()) :])
    assert [word for word in read.params.get("settings") or () if "=" not in word] == []


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_every_option_has_its_help(name: str, command: Callable[..., None]) -> None:
    shown: Any = built_once()
    for part in name.split():
        shown = shown.commands[part]
    assert [each.name for each in shown.params if not each.help] == []
    markup = re.compile(r"\[[a-z#/@]")  # what help would take for a style, and leave out
    assert [text for text in (shown.help, *(each.help for each in shown.params)) if markup.search(text)] == []
    assert shown.help == inspect.cleandoc(command.__doc__ or "")


@pytest.mark.parametrize(("wrong", "right"), [("lst", "list"), ("destory", "destroy"), ("vcpu-lst", "vcpu-list")])
def test_a_wrong_name_is_answered_with_the_right_one(wrong: str, right: str) -> None:
    result = CliRunner().invoke(app, [wrong])
    assert result.exit_code == 2
    assert f"'{right}'" in result.stderr


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyxen", "-h"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Usage: pyxen " in done.stdout


def test_a_bare_import_of_the_library_loads_no_command() -> None:
    done = run("import pyxen, sys; pyxen.connect('memory:///').close(); print(*sys.modules)")
    assert {"typer", "rich", "pyxen.cli"} & {*done.stdout.split()} == set()


def test_every_subcommand_and_option_of_xl_is_there_or_has_its_reason() -> None:
    lacking = {}
    commands: Any = built_once().commands  # type: ignore[attr-defined]  # it is a group
    assert {*libxl_table.subcommand_names()} <= {*commands}
    for line in libxl_table.option_lines():
        subcommand, *spellings = line.split()
        known = {name for param in commands[subcommand].params for name in param.opts} | {"-h", "--help"}
        if not {*spellings} <= known:
            lacking[f"{subcommand} {spellings[0]}"] = spellings
    assert [*lacking] == [*command.XL_OPTIONS]


def test_every_command_is_where_it_is_looked_for() -> None:
    alone = {name: module for module, names in places.PLACES.items() for name in names.split()}
    commands = {name: each for some in application.COMMANDS.values() for name, each in some.items()}
    for name, module in alone.items():
        assert importlib.import_module(f"pyxen.cli.{module}").COMMANDS[name] is commands[name]
        assert places.called(["--uri", "list", name, "x"]) == places.called(["--uri=x", name]) == (name, module)
    assert commands.keys() - alone == {"completion", "config-update"}
    assert application.GROUPS.keys() == places.GROUPS.keys()
    for name, (module, _) in places.GROUPS.items():
        assert importlib.import_module(f"pyxen.cli.{module}").COMMANDS is application.GROUPS[name][1]
        assert places.called(["--uri", "list", name, "x"]) == (name, module)
    for line in (["-h"], ["--version"], ["lst"], [], ["--uri"]):
        assert places.called(line) is None


@pytest.mark.parametrize("words", [["list", "--jsno"], ["list", "-h"], ["pause"], ["--uri", "memory:///", "list"]])
def test_a_command_that_is_loaded_alone_is_the_same(words: list[str]) -> None:
    found = places.called(words)
    assert found is not None
    name, module = found
    alone = root.with_one(name, importlib.import_module(f"pyxen.cli.{module}").COMMANDS[name])
    some, every = (CliRunner().invoke(each, words, prog_name="pyxen") for each in (alone, app))
    assert (some.exit_code, some.stdout, some.stderr) == (every.exit_code, every.stdout, every.stderr)


@pytest.mark.parametrize("words", [["volume", "lst"], ["xenstore", "-h"], ["image"], ["config", "show", "--jsno"]])
def test_a_group_that_is_loaded_alone_is_the_same(words: list[str]) -> None:
    found = places.called(words)
    assert found is not None
    name, module = found
    alone = root.with_group(name, importlib.import_module(f"pyxen.cli.{module}").COMMANDS)
    some, every = (CliRunner().invoke(each, words, prog_name="pyxen") for each in (alone, app))
    assert (some.exit_code, some.stdout, some.stderr) == (every.exit_code, every.stdout, every.stderr)


@pytest.mark.parametrize(("words", "begins"), [(["list"], "Name"), (["xenstore", "ls"], "tool")])
def test_a_command_loads_no_others(words: list[str], begins: str) -> None:
    code = (
        "import sys; from pyxen.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = run(code, *words, "--uri", "memory:///")
    assert done.stdout.startswith(begins)
    others = {"rich", "pyxen.supervisor", "pyxen.cli.app", "pyxen.cli.devices", "pyxen.libvirtxml"}
    assert {*done.stderr.split()} & others == set()
