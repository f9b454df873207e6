"""What tools write into the sources is what they would write now."""

from __future__ import annotations

import enum
from typing import get_args

import pytest

from pyxen import features, info
from tools import aio_face, enum_names


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
