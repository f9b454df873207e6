"""What a client leaves when it is killed, or loses its link: its server has written that down, and releases it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pyxen import ConnectFailed, DomainConfig, Host, InvalidArgument, OperationFailed
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
