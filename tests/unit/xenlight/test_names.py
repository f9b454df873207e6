"""Names and uuids that this process gives to domains: no two domains get one, and none stays taken."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from pyxen.backends.xenlight.operations import names
from pyxen.errors import DomainExists
from pyxen.operation import Operation
from tests.forks import told_by_a_child

NOBODY: Any = SimpleNamespace(hypervisor=SimpleNamespace(named=lambda _: ()))
"""A context of a host whose domains have other names."""


def _make(name: str) -> contextlib.AbstractContextManager[bool]:
    return names.reserved_name(NOBODY, Operation[Any]("create", name), name)


def _is_refused() -> bool:
    with contextlib.suppress(DomainExists), _make("web"):
        return False
    return True


def test_while_a_domain_is_made_no_other_gets_its_name() -> None:
    with _make("web") as is_free, _make("db"):
        assert is_free
        assert _is_refused()
        with pytest.raises(DomainExists), names.free_name(NOBODY, Operation[Any]("rename", "old"), "web"):
            pytest.fail("two domains have this name")
    assert not _is_refused()


def test_while_a_domain_is_made_no_other_gets_its_uuid() -> None:
    one, other = UUID(int=1), UUID(int=2)
    operation = Operation[Any]("create", "web")
    with names.reserved_uuid(operation, one), names.reserved_uuid(operation, other):
        with pytest.raises(DomainExists, match=str(one)), names.reserved_uuid(operation, one):
            pytest.fail("two domains have this uuid")
        with pytest.raises(DomainExists), names.reserved_uuid(operation, one):
            pytest.fail("who was refused gives it free")
    with names.reserved_uuid(operation, one):
        pass


def test_the_child_of_a_fork_makes_none_of_them() -> None:
    with _make("web"):
        assert told_by_a_child([_is_refused, lambda: names._RESERVED]) == ["False", "set()"]
        assert _is_refused()
