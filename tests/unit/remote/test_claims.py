"""What a client leaves when it is killed, or loses its link: its server has written that down, and releases it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pyxen import ConnectFailed, Disk, DomainConfig, Host, InvalidArgument, OperationFailed
from pyxen._common.claims import Claim, abandoned
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.serve.policy import ALL, Policy
from tests.unit.remote.ends import Served, served, until

WEB = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=8)
SOME = UUID(int=1)

Claimed = Callable[[], set[UUID]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the claims of hosts in memory are: they outlive their links."""
    monkeypatch.setattr(MemoryBackend, "claims_folder", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def left(run: Path) -> Claimed:
    """Tell which domains belong to nobody any more."""

    def found() -> set[UUID]:
        with abandoned(str(run)) as sets:
            return {claim.uuid for one in sets for claim in one.claims}

    return found


@pytest.fixture
def link(run: Path, tmp_path: Path) -> Iterator[Served]:  # noqa: ARG001 (it must be there first)
    with served(f"memory:///{tmp_path.name}-claims") as found:
        yield found


def ready(host: Host) -> set[UUID]:
    return {info.uuid for info in host.list() if "--ready-" in str(info.name)}


def test_guests_of_a_pool_whose_client_is_gone(link: Served, left: Claimed, run: Path) -> None:
    """They are orphans on the host, and the next pool there, or over a link, removes them; those taken stay."""
    pool = link.host.pool(WEB, size=2)
    taken = pool.take("taken")
    pool.wait(timeout=30)
    guests = ready(link.there)
    assert len(guests) == 2
    assert left() == set()  # its client lives
    link.cut()
    assert link.ended()
    until(lambda: left() >= guests)
    assert taken.uuid not in left()
    with served(str(link.there.uri)) as again, again.host.pool(WEB.replace(name="other"), size=1, timeout=30):
        assert guests.isdisjoint(ready(link.there))
        assert left() == set()
    assert "taken" in [info.name for info in link.there.list()]
    until(lambda: list(run.iterdir()) == [])
    with pytest.raises(ConnectFailed):
        pool.take("more")
    pool.close()


def test_a_pool_that_is_closed_leaves_no_claims(link: Served, left: Claimed, run: Path) -> None:
    with link.host.pool(WEB, size=2) as pool:
        pool.wait(timeout=30)
        assert len(list(run.iterdir())) == 1
    assert left() == set()
    assert list(run.iterdir()) == []
    assert ready(link.there) == set()


def test_clones_belong_to_nobody_else(link: Served, left: Claimed, run: Path, tmp_path: Path) -> None:
    link.there.create(WEB).save(str(tmp_path / "saved"))
    clones = link.host.clone(str(tmp_path / "saved"), 3, timeout=30)
    assert len(clones) == 3
    assert left() == set()
    assert list(run.iterdir()) == []


def test_all_claims_are_dropped_with_one_message(link: Served, left: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = link.host._backend.claims()
    for number in range(3):
        claims.add(Claim(UUID(int=number)))
    asked: list[str] = []
    ask = link.client.ask

    def noted(name: str, **arguments: Any) -> Any:
        asked.append(name)
        return ask(name, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(link.client, "ask", noted)
        claims.drop_all()
    assert asked == ["claims_drop_all"]
    link.cut()
    assert link.ended()
    assert left() == set()
    claims.close()


def test_a_server_that_drops_claims_one_by_one(run: Path, left: Claimed) -> None:
    """An older one."""
    policy = Policy(ALL.verbs - {"claims_drop_all"}, passwords=True, source="/etc/pyxen/serve.toml")
    with served("memory:///older-claims", policy=policy) as link:
        claims = link.host._backend.claims()
        for number in range(3):
            claims.add(Claim(UUID(int=number)))
        claims.drop(UUID(int=1))
        claims.drop_all()
        link.cut()
        assert link.ended()
        assert left() == set()
        claims.close()
    until(lambda: list(run.iterdir()) == [])


def test_a_claim_that_cannot_be_written(link: Served, run: Path) -> None:
    """The guest is not made, and the error is that of the host itself."""
    run.write_text("in the way")
    with pytest.raises(OperationFailed, match="cannot record in"), link.host.pool(WEB, size=1, timeout=30):
        pass
    assert ready(link.there) == set()


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_set_that_is_not_there(link: Served, number: int) -> None:
    client = link.client
    for verb, more in (("add", {"uuid": SOME, "files": ()}), ("drop", {"uuid": SOME}), ("close", {})):
        with pytest.raises(InvalidArgument, match=f"there is no set of claims {number}"):
            client.ask(f"claims_{verb}", claims=number, **more)


def test_the_sets_of_a_client_have_a_bound(link: Served) -> None:
    for _ in range(256):
        link.client.ask("claims_open")
    with pytest.raises(InvalidArgument, match="256 pools and clones"):
        link.client.ask("claims_open")


@pytest.mark.usefixtures("run")
def test_a_server_that_has_no_such_verbs() -> None:
    """An older one, or one that does not allow them: nothing is recorded, and all else works."""
    verbs = frozenset(name for name in ALL.verbs if not name.startswith("claims_")) - {"remove_orphans"}
    policy = Policy(verbs, passwords=True, source="/etc/pyxen/serve.toml")
    with served("memory:///no-claims", policy=policy) as found, found.host.pool(WEB, size=1, timeout=30) as pool:
        assert pool.take("taken").info().name == "taken"


def test_a_claim_is_dropped_only_once_it_is_heard(link: Served, left: Claimed) -> None:
    """A taker whose link is lost before gets an error, and the guest is found."""
    claims = link.host._backend.claims()
    claims.add(Claim(SOME))
    link.cut()
    with pytest.raises(ConnectFailed):
        claims.drop(SOME)
    assert link.ended()
    until(lambda: left() == {SOME})
    claims.close()


def test_overlays_in_a_folder_that_only_the_host_could_find(link: Served, tmp_path: Path) -> None:
    """A relative path means one folder here and another one there."""
    web = WEB.replace(disks=[Disk("/dev/vg0/web", vdev="xvda")])
    saved = os.path.relpath(tmp_path / "saved")
    link.there.create(web).save(saved)
    with pytest.raises(InvalidArgument, match="is not an absolute path, and the host is elsewhere"):
        link.host.clone(saved, timeout=30)
    with pytest.raises(InvalidArgument, match=r"^srv is not an absolute path|: srv is not an absolute path"):
        link.host.clone(tmp_path / "saved", folder="srv", timeout=30)
    with pytest.raises(InvalidArgument, match="is not an absolute path"):
        link.host.pool(saved=saved, size=1, timeout=30)
    link.host.clone(saved, folder=tmp_path, timeout=30)
    (there,) = link.there.clone(saved, name="there")
    assert there.config().disks[0].target == f"{tmp_path}/{there.uuid}-xvda.qcow2"
