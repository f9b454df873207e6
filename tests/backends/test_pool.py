"""Guests that are made ahead, and many guests from one saved state."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import pyxen
from pyxen import (
    CloneFailed,
    Disk,
    DomainConfig,
    DomainExists,
    DomainState,
    Feature,
    FileMissing,
    Host,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    ParseError,
    ValidationError,
    Vif,
)
from tests.backends.files import Files
from tests.backends.support import SECONDS, Guest, Make, goes_on, wait_until

needs_pool = pytest.mark.needs(Feature.POOL)
needs_clone = pytest.mark.needs(Feature.CLONE, Feature.SAVE, Feature.OTHER_CONFIG)


def ready_guests(host: Host) -> list[str]:
    """Return the names of the guests of pools that nobody has taken."""
    return [str(info.name) for info in host.list() if "--ready-" in str(info.name)]


@needs_pool
def test_a_guest_is_taken(host: Host, config: Make, image: str) -> None:
    template = config("web", memory=16, maxmem=24, vifs=[Vif(bridge="xenbr0")])
    with host.pool(template, size=1, timeout=SECONDS) as pool:
        assert (pool.size, pool.ready, pool.error) == (1, 1, None)
        (ready,) = ready_guests(host)
        assert host.domains[ready].info().state is DomainState.PAUSED
        assert host.guests.shutdown_all(timeout=SECONDS) == {}
        assert pool.ready == 1
        first = pool.take("web1", disks=[Disk(image, vdev="xvdb")], memory=20)
        second = pool.take("web2", paused=True)
        assert (first.name, second.name) == ("web1", "web2")
        assert second.info().state is DomainState.PAUSED
        assert first.info().state is not DomainState.PAUSED
        assert {domain.uuid for domain in (first, second)} == {host.domains[name].uuid for name in ("web1", "web2")}
        now, other = first.config(), second.config()
        assert (now.name, now.uuid, now.memory) == ("web1", first.uuid, 20)
        assert [disk.vdev for disk in now.disks] == ["xvdb"]
        assert len({vif.mac for vif in (*now.vifs, *other.vifs)} - {None}) == 2
        if host.supports("xenstore"):
            assert host.xenstore.read(f"/local/domain/{first.domid}/name") == "web1"
            assert host.xenstore.read(f"/local/domain/{first.domid}/vm") == f"/vm/{first.uuid}"
        pool.wait(timeout=SECONDS)
        assert len(ready_guests(host)) == 1
    assert ready_guests(host) == []
    assert first.info().name == "web1"
    with pytest.raises(InvalidState, match="closed: open another"):
        pool.take("web3")
    pool.close()


@needs_pool
def test_a_taker_that_fails(host: Host, config: Make, make: Make) -> None:
    make("web1", paused=True)
    with host.pool(config("web"), size=1, timeout=SECONDS) as pool:
        (ready,) = ready_guests(host)
        with pytest.raises(DomainExists):
            pool.take("web1")
        with pytest.raises(ValidationError):
            pool.take("a/b")
        for wrong in ({"disks": ["phy:/dev/null"]}, {"vifs": Vif()}, {"memory": "8"}, {"timeout": -1}):
            with pytest.raises(InvalidArgument):
                pool.take("web2", **wrong)
        for amount in (float("nan"), float("inf"), -5, 0, 1 << 40, 1 << 20):
            with pytest.raises((InvalidArgument, ValidationError)):
                pool.take("web2", memory=amount)
        assert ready_guests(host) == [ready]  # it was not touched
        with pytest.raises(FileMissing):
            pool.take("web2", disks=[Disk("/nowhere/disk", vdev="xvda")])
        assert host.domains.get("web2") is None
        pool.wait(timeout=SECONDS)
        assert ready_guests(host) != [ready]
        host.domains[ready_guests(host)[0]].destroy()  # by someone else
        assert pool.take("web2").info().name == "web2"


@needs_pool
def test_two_takers_of_the_last_guest(host: Host, config: Make) -> None:
    with host.pool(config("web"), size=1, timeout=SECONDS) as pool, ThreadPoolExecutor(2) as threads:
        taken = list(threads.map(lambda number: pool.take(f"web{number}", paused=True), range(2)))
        assert len({domain.uuid for domain in taken}) == 2
        assert {info.name for info in host.list()} >= {"web0", "web1"}


@needs_pool
def test_what_cannot_be_a_pool(host: Host, config: Make, image: str, folder: str) -> None:
    good = config("web")
    for size in (0, -1, 4097, 10**30, True, "2", 1.0, None):
        with pytest.raises(InvalidArgument):
            host.pool(good, size=size)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidArgument, match="saved="):
        host.pool()
    with pytest.raises(InvalidArgument, match=r"uuid.*leave out uuid"):
        host.pool(good.replace(uuid="6c6e0a4f-57f4-4a73-9e4c-2ff1cfeac0f5"))
    with pytest.raises(InvalidArgument, match=r"vifs\[0\].mac"):
        host.pool(good.replace(vifs=[Vif(mac="00:16:3e:00:00:01")]))
    with pytest.raises(InvalidArgument, match="folder="):
        host.pool(good.replace(disks=[Disk(image, vdev="xvda")]))
    with pytest.raises(ValidationError):
        host.pool(good.replace(vcpus=4, maxvcpus=2))
    with pytest.raises(FileMissing):
        host.pool(good.replace(kernel="/nowhere/kernel"), timeout=SECONDS)
    with pytest.raises(FileMissing):
        host.pool(saved=f"{folder}/nowhere", timeout=SECONDS)
    with pytest.raises(ZeroDivisionError):
        host.pool(good, disks=lambda _: [1 // 0], timeout=SECONDS)  # type: ignore[list-item]  # that is the point
    with pytest.raises(InvalidArgument, match="takes a Disk"):
        host.pool(good, disks=lambda _: ["phy:/dev/null"], timeout=SECONDS)  # type: ignore[list-item]  # the same
    half = host.info().free_memory_kib // 2048
    with pytest.raises(NotEnoughMemory):
        host.pool(good.replace(memory=half), size=3)
    assert ready_guests(host) == []


@needs_pool
def test_a_pool_is_closed_while_it_is_filled(host: Host, config: Make) -> None:
    with host.pool(config("web"), size=3, timeout=SECONDS) as pool:
        waiting = pool.begin.wait()
    assert ready_guests(host) == []
    assert waiting.done() or isinstance(waiting.exception(SECONDS), InvalidState)
    with pyxen.connect(host.uri) as other:
        pool = other.pool(config("web"), size=2, timeout=SECONDS)
    assert ready_guests(host) == []  # closing the host closed it
    assert "closed" in repr(pool)


@needs_pool
def test_every_close_waits_until_the_guests_are_gone(host: Host, config: Make) -> None:
    pool = host.pool(config("web"), size=2, timeout=SECONDS)
    pool.wait(timeout=SECONDS)
    closing = pool.begin.close()
    pool.close()
    assert ready_guests(host) == []
    closing.result(SECONDS)
    pool.close()


@needs_pool
def test_a_pool_belongs_to_the_parent_of_a_fork(host: Host, config: Make) -> None:
    with host.pool(config("web"), size=1, timeout=SECONDS) as pool:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                pool.take("web1", timeout=5)
            except HostClosed:
                pool.close()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert pool.take("web1").info().name == "web1"


def saved_guest(domain: Any, folder: str, image: str) -> str:
    """Save a guest with a disk that it can write to."""
    config = domain.config().replace(disks=[Disk(image, vdev="xvda")])
    domain.save(f"{folder}/saved", config=config, timeout=120)
    return f"{folder}/saved"


@needs_clone
def test_clones(host: Host, willing: Guest, files: Files, folder: str, image: str) -> None:
    domain = willing()
    saved = saved_guest(domain, folder, image)
    before = files.names(folder)
    clones = host.clone(saved, 2)
    assert [clone.name for clone in clones] == [clone.info().name for clone in clones] == ["willing1-1", "willing1-2"]
    assert len({clone.uuid for clone in clones} - {domain.uuid}) == 2
    for clone in clones:
        now = clone.config()
        (disk,) = now.disks
        assert (now.name, now.uuid, disk.vdev, disk.format) == (clone.name, clone.uuid, "xvda", "qcow2")
        assert disk.target == f"{folder}/{clone.uuid}-xvda.qcow2"
        header = files.head(str(disk.target), 4096)
        assert header.startswith(b"QFI\xfb")
        assert image.encode() in header  # what it is over
        assert files.mode(str(disk.target)) == 0o600
        goes_on(clone)
    with pytest.raises(DomainExists, match="willing1-1"):
        host.clone(saved, 3)
    for clone in clones:
        clone.destroy()
    made = len(files.names(folder)) - len(before)
    assert made == 2  # they are the caller's to remove
    before = files.names(folder)
    with pytest.raises(OperationFailed) as caught:  # the second one fails: nothing of the first is left
        host.clone(saved, 2, name="web", change=_with_missing_bridge("web-2"))
    assert not isinstance(caught.value, CloneFailed)
    assert {info.name for info in host.list() if info.state is not DomainState.DYING}.isdisjoint({"web-1", "web-2"})
    assert files.names(folder) == before
    cloning = host.begin.clone(saved, 2)
    wait_until(lambda: len(files.names(folder)) > len(before) or cloning.done())
    cloning.cancel()
    if cloning.exception() is None:  # it was too late
        return
    assert files.names(folder) == before
    wait_until(lambda: "willing1-1" not in {info.name for info in host.list()})


@needs_clone
def test_a_host_that_is_closed_while_it_clones(host: Host, willing: Guest, folder: str) -> None:
    saved = f"{folder}/saved"
    willing().save(saved, timeout=120)

    def clones() -> list[str]:
        return [str(info.name) for info in host.list() if str(info.name).startswith("closed-")]

    with pyxen.connect(host.uri) as other:
        begun = other.begin.clone(saved, 3, name="closed", paused=True)
        wait_until(lambda: clones() or begun.done())
    if begun.exception(SECONDS) is None:  # it was too late
        return
    assert isinstance(begun.exception(), OperationCancelled)
    wait_until(lambda: not clones())
    with pytest.raises(HostClosed):
        other.begin.clone(saved, 1)


@needs_clone
def test_what_cannot_be_cloned(host: Host, willing: Guest, files: Files, folder: str, image: str) -> None:
    saved = saved_guest(willing(), folder, image)
    before = files.names(folder)
    for wrong in (0, True, 4097, "2"):
        with pytest.raises(InvalidArgument):
            host.clone(saved, wrong)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidArgument, match="two clones"):
        host.clone(saved, 2, name=lambda _: "web")
    with pytest.raises(InvalidArgument, match="takes a name"):
        host.clone(saved, 2, name=3)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(NotEnoughMemory):
        host.clone(saved, 4096, autoballoon=False)
    with pytest.raises(OperationTimeout):
        host.clone(saved, 4, timeout=0)
    with pytest.raises(ParseError):
        host.clone(image)
    with pytest.raises(FileMissing):
        host.clone(f"{folder}/nowhere")
    with pytest.raises(FileMissing, match="/nowhere"):
        host.clone(saved, folder="/nowhere")
    assert files.names(folder) == before
    with host.pool(saved=saved, size=1) as pool:
        booted = pool.take("web3")
        assert booted.config().uuid == booted.uuid
        goes_on(booted)
    booted.destroy()


def _with_missing_bridge(name: str) -> Any:
    def change(config: DomainConfig) -> DomainConfig:
        return config.replace(vifs=[Vif(bridge="nowhere")]) if config.name == name else config

    return change


@pytest.mark.parametrize(
    "verb", [pytest.param("clone", marks=needs_clone), pytest.param("pool", marks=[needs_clone, needs_pool])]
)
def test_a_saved_guest_that_is_not_there(host: Host, folder: str, verb: str) -> None:
    path = os.path.join(folder, "nothing.save")
    call = partial(host.clone, path) if verb == "clone" else partial(host.pool, saved=path)
    with pytest.raises(FileMissing, match=f"^{verb}: no such file on the host: {path}$") as caught:
        call(timeout=SECONDS)
    assert (caught.value.operation, caught.value.domain, caught.value.filename) == (verb, None, path)
