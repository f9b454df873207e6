"""What a handle of a domain does by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pyxen.domain import migration_command
from pyxen.errors import InvalidArgument


@pytest.mark.parametrize(
    ("destination", "paused", "command"),
    [
        ("host2", False, ("ssh", "host2", "xl", "migrate-receive")),
        ("root@host2", True, ("ssh", "root@host2", "xl", "migrate-receive", "-p")),
        (["xl", "migrate-receive"], False, ("xl", "migrate-receive")),
    ],
)
def test_where_a_domain_migrates(destination: str | Sequence[str], paused: bool, command: tuple[str, ...]) -> None:
    assert migration_command(destination, paused=paused) == command


@pytest.mark.parametrize(
    ("destination", "paused", "problem"),
    [
        ("", False, "is no host"),
        ("-oProxyCommand=reboot", False, "is no host"),
        ("ssh host2 xl migrate-receive", False, "or a command as a list"),
        ([], False, "the command is empty"),
        (["xl", "migrate-receive"], True, "says -p itself"),
    ],
)
def test_where_none_can(destination: str | Sequence[str], paused: bool, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        migration_command(destination, paused=paused)
