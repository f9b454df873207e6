"""The targets of fuzzing, with some of their seeds and with inputs that were found to break them."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS

EVERY = 10
"""Fuzzing begins with all seeds; here it is every tenth."""

FOUND: dict[str, list[bytes]] = {name: [] for name in TARGETS}
"""Inputs on which a target has failed once."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_target(name: str) -> None:
    inputs = [*seeds(name)[::EVERY], *FOUND[name], b"", b"\xff" * 100, b"[" * 5000, b"<a>" * 5000]
    assert len(inputs) > len(FOUND[name]) + 4
    for data in inputs:
        TARGETS[name](data)
        TARGETS[name](data[: len(data) // 2])


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_words_are_the_same_in_every_run(name: str) -> None:
    assert seeds(name) == seeds(name)
    assert all(b'"' not in word and word.isascii() for word in words(name))
