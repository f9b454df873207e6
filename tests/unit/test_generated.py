"""What tools write into the sources is what they would write now."""

from __future__ import annotations

import enum
import re
from typing import get_args

import pytest

from pyxen import features, info
from pyxen.xlcfg.keys import KEYS
from tools import aio_face, enum_names, xl_keys


@pytest.mark.parametrize("face", aio_face.FACES, ids=lambda face: str(face.module))
def test_the_asyncio_face_is_made_from_the_blocking_one(face: aio_face.Face) -> None:
    assert face.target.read_text() == aio_face.awaited(face), "write it anew: python -m tools.aio_face"


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
