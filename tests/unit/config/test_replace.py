"""`dataclasses.replace` makes a changed copy of every part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given

from pyxen import DomainConfig, config
from pyxen.config import Device, Part
from pyxen.testing.strategies import domain_configs


def parts(value: object) -> Iterator[Part]:
    """Yield a part and all that is in it."""
    if isinstance(value, Part):
        yield value
        for name, _ in value.non_defaults():
            yield from parts(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)


@given(domain_configs())
def test_copies_are_equal(whole: DomainConfig) -> None:
    for part in parts(whole):
        copy = dataclasses.replace(part)
        assert type(copy) is type(part)
        assert copy == part
        said = dict(part.non_defaults())
        assert dataclasses.replace(part, **said) == part


@pytest.mark.parametrize("name", [name for name in config.__all__ if isinstance(getattr(config, name), type)])
def test_every_part_is_a_dataclass(name: str) -> None:
    kind = getattr(config, name)
    if issubclass(kind, Part) and kind not in (Part, Device):
        assert all(field.init for field in dataclasses.fields(kind))
