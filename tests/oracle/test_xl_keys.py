"""The table of keys in the documentation, against the real xl: a key changes the JSON where the table says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pyxen.xlcfg.keys import KEYS, Key
from tests.oracle import configs
from tests.oracle.server import Refused
from tests.oracle.xl import XlOracle
from tools import xl_keys

WITHOUT_EFFECT = ("device_model", "vif2", "vncviewer")
"""Keys that xl reads, and ignores."""


def members(value: Any, path: str = "") -> Iterator[str]:
    """Yield the places of JSON, each with its value behind a line feed."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from members(inner, f"{path}.{name}" if path else name)
    else:
        yield f"{path}\n{value!r}"


def changed(xl: XlOracle, key: Key) -> set[str]:
    """Return the places that the values of a key change in the JSON of the real xl."""
    found: set[str] = set()
    for texts in xl_keys.texts(key):
        before, after = (xl.create(text) for text in texts)
        if not isinstance(before, Refused) and not isinstance(after, Refused):
            found |= {place.partition("\n")[0] for place in set(members(before)) ^ set(members(after))}
    return found


@pytest.mark.parametrize("xl", ["4.20"], indirect=True)
def test_every_key_changes_what_the_table_says(xl: XlOracle) -> None:
    wrong = []
    for name in configs.keys(xl.release):
        key = KEYS[name]
        told = xl_keys.row(key)[4].replace("`", "").split(", ")
        places = changed(xl, key)
        # A struct in a struct is told by its name.
        if not all(any(f"{place}.".startswith(f"{one}.") for place in places) for one in told):
            wrong.append((name, told, sorted(places)))
    assert {name for name, told, _ in wrong if told == ["—"]} == set(WITHOUT_EFFECT)
    assert [one for one in wrong if one[0] not in WITHOUT_EFFECT] == []
