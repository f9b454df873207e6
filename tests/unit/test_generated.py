"""What tools write into the sources is what they would write now."""

from __future__ import annotations

import enum
import fnmatch
import inspect
import re
from typing import get_args

import pytest

import pyxen
from pyxen import features
from pyxen.cli.status import ExitStatus
from pyxen.records import info
from pyxen.xlcfg.keys import KEYS
from tools import aio_face, command, enum_names, libxl_table, public_api, remote_verbs, xl_keys


@pytest.mark.parametrize("face", aio_face.FACES, ids=lambda face: str(face.module))
def test_the_asyncio_face_is_made_from_the_blocking_one(face: aio_face.Face) -> None:
    assert face.target.read_text() == aio_face.awaited(face), "write it anew: python -m tools.aio_face"


@pytest.mark.parametrize("face", remote_verbs.FACES, ids=lambda face: str(face[2]))
def test_the_remote_verbs_are_made_from_those_of_all_backends(face: tuple[str, ...]) -> None:
    assert remote_verbs.target_of(face).read_text() == remote_verbs.text_of(face), (
        "write them anew: python -m tools.remote_verbs"
    )


def test_the_public_api_is_the_listed_one() -> None:
    assert public_api.FILE.read_text() == public_api.text(), (
        "the public API has changed: see docs/versions.md, then python -m tools.public_api"
    )


def test_the_names_of_the_enumerations_are_theirs() -> None:
    assert enum_names.FILE.read_text() == enum_names.source(), "write it anew: python -m tools.enum_names"


@pytest.mark.parametrize("kind", enum_names.kinds())
def test_every_spelling_is_accepted(kind: type[enum.StrEnum]) -> None:
    spellings = enum_names.names(kind)  # type: ignore[arg-type]  # pytest's parameters are of a wider type
    assert {kind(spelling) for spelling in spellings} == {*kind}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (features.Feature, features.FeatureName),
        (info.DomainState, info.DomainStateName),
        (info.Trigger, info.TriggerName),
    ],
)
def test_the_names_that_are_written_by_hand(kind: type[enum.StrEnum], names: object) -> None:
    assert get_args(names) == tuple(member.value for member in kind)


def test_the_table_of_keys_is_that_of_the_codecs() -> None:
    assert xl_keys.PAGE.read_text() == xl_keys.page(), "write it again: python -m tools.xl_keys"


def test_the_table_has_every_key() -> None:
    rows = re.findall(
        r"^\| `(\w+)`(?: \(old.*?\))? \| ", xl_keys.PAGE.read_text().partition("## Words")[0], re.MULTILINE
    )
    assert rows == list(KEYS)


def test_the_table_of_libxl_is_that_of_the_sources() -> None:
    assert libxl_table.PAGE.read_text() == libxl_table.page(), "write it again: python -m tools.libxl_table"


def test_the_page_of_the_command_is_that_of_its_options() -> None:
    assert command.PAGE.read_text() == command.page(), "write it again: python -m tools.command"


def test_the_page_of_the_command_has_every_exit_status() -> None:
    assert {name: number for name, (number, _) in command.statuses().items()} == {
        each.name: each.value for each in ExitStatus
    }


@pytest.mark.parametrize(
    ("function", "reached"),
    [
        ("libxl_domain_create_new", ["`Host.create`"]),
        ("libxl_domain_pause", ["`Domain.pause`"]),
        ("libxl_send_debug_keys", ["`Host.debug_keys`"]),
        ("libxl_device_disk_add", ["`Domain.attach`"]),
        ("libxl_domain_remus_start", ["`Domain.remus`", "`Domain.remus_over`"]),
        ("libxl_psr_set_val", ["`Psr.set`"]),
        ("libxl_ctx_alloc", ["every operation"]),
    ],
)
def test_what_reaches_a_function(function: str, reached: list[str]) -> None:
    assert set(reached) <= set(libxl_table.functions()[function].split(", "))


def test_the_reasons_are_about_something() -> None:
    said = libxl_table.table()
    for kind in ("function", "subcommand", "option"):
        names = said[f"{kind}s"]
        assert names == sorted(set(names))
        names += said.get(f"unshown_{kind}s", ())
        if kind == "option":
            names = [" ".join(name.split()[:2]) for name in names]
        for pattern in said[kind]:
            assert any(fnmatch.fnmatchcase(name, pattern) for name in names), f"docs/libxl.toml: {pattern}"


def test_what_reaches_an_option_is_there() -> None:
    texts = libxl_table.table()["option"].values()
    named = {found for text in texts for found in re.findall(r"`([A-Z]\w+)\.(\w+)(?:\((\w+)=\))?`", text)}
    assert len(named) > 25
    for owner, member, argument in sorted(named):
        verb = getattr(getattr(pyxen, owner), member)
        assert not argument or argument in inspect.signature(verb).parameters, f"{owner}.{member}({argument}=)"


@pytest.mark.parametrize(
    ("usage", "options"),
    [
        ("Usage: xl [-vtTf] a <Domain>\n\nText -x.\n", []),
        ("Usage: xl [-vtT] a [-s] [Domain]\n", [["-s"]]),
        ("Usage: xl [-vtT] a -n, --numa     Show\n", [["-n", "--numa"]]),
        ("Usage: xl [-vtT] a [-c|--cpus]\n\n-c, --cpus      With -d.\n", [["-c", "--cpus"]]),
        ("Usage: xl a\n-f FILE, --file=FILE  Use -g.\n-t <type>   Not -n\n", [["-f", "--file"], ["-t"]]),
        ("Usage: xl a\n-w WEIGHT, --weight=WEIGHT        Weight\n--debug   much\n", [["-w", "--weight"], ["--debug"]]),
    ],
)
def test_options_in_a_usage_text(usage: str, options: list[list[str]]) -> None:
    assert libxl_table.options_in(usage) == options


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("memory", "integer, `memory`, `currentMemory`, `memory`, `b_info.target_memkb`, all, —, —, `maxmem`"),
        ("bios", "string, `bios`, `os@firmware`, `b_info.type.hvm.bios`, HVM, —, —, `seabios`, —"),
        (
            "cpu_weight",
            "integer, `scheduler.weight`, `cputune/shares`, `b_info.sched_params.weight`, all, —, —, 256, —",
        ),
        ("opengl", "boolean, `sdl.opengl`, —, `b_info.type.hvm.sdl.opengl`, HVM, PV, —, 4.20, no, —"),
        ("vif", "list, `vifs`, `devices/interface`, `nics`, all, —, —, —, —"),
        ("rtc_timeoffset", "`b_info.rtc_timeoffset`, all, —, —, 0, s"),
        ("builder", "string, `type`, `os/type`, `c_info.type`, all"),
    ],
)
def test_a_row(key: str, row: str) -> None:
    assert row in ", ".join(xl_keys.row(KEYS[key]))
