"""A uuid is given to one domain, and who fails to give it ends no other domain that has it."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import pyxen
from pyxen import DomainConfig, DomainExists, OperationCancelled
from pyxen.errors import Error
from tests.offhost.host import OffHost
from tests.offhost.internals import after_the_check_of_names as then
from tests.offhost.moves import Sender
from tests.waiting import until

Configure = Callable[..., DomainConfig]


@pytest.fixture(params=[2, 0], ids=["by workers", "in this process"])
def two_hosts(request: pytest.FixtureRequest, offhost: OffHost) -> Iterator[list[pyxen.Host]]:  # noqa: ARG001 (it is needed)
    """The same host, opened twice."""
    with (
        pyxen.connect("xenlight:///", workers=request.param) as one,
        pyxen.connect("xenlight:///", workers=request.param) as other,
    ):
        yield [one, other]


def names(host: pyxen.Host) -> list[str]:
    return sorted(info.name or "" for info in host.list() if info.domid)


@pytest.mark.parametrize("which", [(0, 0), (0, 1)], ids=["by one host", "by two"])
def test_two_creates_with_a_uuid(
    offhost: OffHost, two_hosts: list[pyxen.Host], config: Configure, which: tuple[int, int]
) -> None:
    uuid = uuid4()
    with offhost.world.failing("domctl.createdomain", errno.ENOMEM, nth=2, times=1):
        begun = [
            two_hosts[number].begin.create(config(name=name, uuid=uuid))
            for number, name in zip(which, ("web", "db"), strict=True)
        ]
        ends = [operation.exception(60) for operation in begun]
    assert [type(end) for end in ends if end is not None] == [DomainExists]
    [web] = [operation.result(0) for operation in begun if operation.exception(0) is None]
    assert [info.domid for info in two_hosts[0].list() if info.uuid == uuid] == [web.domid]
    web.destroy()
    two_hosts[1].create(config(name="db", uuid=uuid)).destroy()
    assert offhost.left() == []


def test_a_restore_beside_a_create(
    offhost: OffHost, two_hosts: list[pyxen.Host], config: Configure, tmp_path: Path
) -> None:
    web = two_hosts[0].create(config(name="web"))
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "web", timeout=60)
    begun = [
        two_hosts[0].begin.restore(tmp_path / "web", paused=True),
        two_hosts[1].begin.create(config(name="db", uuid=web.uuid), paused=True),
    ]
    assert [type(end) for operation in begun if (end := operation.exception(60)) is not None] == [DomainExists]
    assert len(names(two_hosts[0])) == 1


def test_one_that_arrives_beside_a_create(
    offhost: OffHost, two_hosts: list[pyxen.Host], config: Configure, tmp_path: Path
) -> None:
    web = two_hosts[0].create(config(name="web"))
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "web", timeout=60)
    sender = Sender((tmp_path / "web").read_bytes()[:-64])  # it stops within the guest's memory
    arriving = two_hosts[0].begin.receive_migration(sender.end.fileno(), sender.end.fileno())
    until(lambda: names(two_hosts[0]) == ["web--incoming"], "nothing arrives")
    with pytest.raises(DomainExists, match=f"another domain with the uuid {web.uuid} is being made"):
        two_hosts[1].create(config(name="db", uuid=web.uuid))
    arriving.cancel()
    assert isinstance(arriving.exception(60), OperationCancelled)
    sender.close()
    two_hosts[1].create(config(name="db", uuid=web.uuid), paused=True).destroy()
    assert offhost.left() == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_uuid_that_another_program_gives_meanwhile(
    offhost: OffHost, two_hosts: list[pyxen.Host], config: Configure, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    uuid, host = uuid4(), two_hosts[0]
    then(monkeypatch, lambda: offhost.add("other", uuid=uuid, kind="pv"))
    with offhost.world.failing("domctl.createdomain", errno.ENOMEM, times=1 if fails else 0):
        with pytest.raises(Error) as caught:
            host.create(config("pv", name="web", uuid=uuid), paused=True)
        assert isinstance(caught.value, DomainExists) is not fails
    assert names(host) == ["other"]
    assert host.domains["other"].uuid == uuid


NOTED = """
import os, signal, sys
from uuid import UUID
from pyxen.backends.xenlight.libxl.journal import Journal
with Journal().noting(UUID(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("offhost")
def test_a_guest_that_was_made_again_is_no_orphan(host: pyxen.Host, config: Configure) -> None:
    """A process was killed while it made one of that uuid, and what was half made is gone."""
    uuid = uuid4()
    assert subprocess.run([sys.executable, "-c", NOTED, str(uuid)], check=False, timeout=60).returncode == -9
    web = host.create(config(uuid=uuid))
    assert host.orphans() == ()
    web.pause()  # as half-made ones are: the note is gone by now
    assert host.orphans() == ()
