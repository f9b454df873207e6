"""What a create, a rename, a destroy and a lookup cost in calls, which must not grow with the number of domains.

Times would depend on the machine; calls do not. Those of Xen's daemons do not count: xenstored looks at all domains
whenever one ends.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import pyxen
from pyxen import DomainConfig, DomainExists
from tests.offhost.host import OffHost, children
from tests.offhost.internals import after_the_check_of_names as then

FEW, MANY = 5, 60
CHANGES = 500
MORE = 12
"""Calls that may come on top at times: a transaction that is made again, an event that comes in pieces."""

OWN = {"create": 6, "rename": 6, "lookup": 1, "info": 1, "unpause": 0, "pause": 0, "destroy": 4}
"""The most messages to xenstored that pyxen itself sends, see docs/performance.md; those of libxl come on top."""


@pytest.fixture(params=[1, 0], ids=["by a worker", "in this process"])
def flat_host(request: pytest.FixtureRequest, offhost: OffHost) -> Iterator[pyxen.Host]:  # noqa: ARG001 (it is needed)
    with pyxen.connect("xenlight:///", workers=request.param) as host:
        yield host


def worker_processes() -> set[int]:
    """Return the pids of pyxen's workers."""
    return {pid for pid in children() if b"pyxen-worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def cost(offhost: OffHost, work: Callable[[], object]) -> tuple[Counter[str], Counter[str]]:
    """Return how many calls of each kind some work makes: this process, and its workers with their children."""
    daemons = children() - worker_processes()
    with offhost.world.recording() as calls:
        work()
    own = Counter(call.name for call in calls if call.pid == os.getpid())
    return own, Counter(call.name for call in calls if call.pid not in daemons | {os.getpid()})


def test_nothing_is_asked_of_the_other_domains(
    offhost: OffHost, flat_host: pyxen.Host, config: Callable[..., DomainConfig]
) -> None:
    costs: dict[int, dict[str, Counter[str]]] = {}
    for number in range(MANY):
        offhost.add(f"other{number}", kind="pv", introduced=False, memory=4)
        if number + 1 not in {FEW, MANY}:
            continue
        for _ in range(6):  # until all names are watched
            flat_host.create(config("pv", name="warm"), paused=True).destroy()
        web = flat_host.create(config("pv", name="web"), paused=True)
        web.destroy()
        costs[number + 1] = {}
        for name, step in steps(flat_host, config("pv", name="web")):
            own, workers = cost(offhost, step)
            costs[number + 1][name] = own + workers
            if worker_processes() and name in OWN and name != "rename":  # which libxl does in this process
                assert own["xenstore.send"] <= OWN[name], f"{name} of {number + 1}: {own}"
    check_that_nothing_grows(costs)


def check_that_nothing_grows(costs: dict[int, dict[str, Counter[str]]]) -> None:
    for name, few in costs[FEW].items():
        many = costs[MANY][name]
        grown = {call: many[call] - few[call] for call in few | many if call != "xenstore.receive"}
        assert all(more <= MORE for more in grown.values()), f"{name}: {grown}"


def test_a_restore_asks_nothing_of_the_other_domains(
    offhost: OffHost, flat_host: pyxen.Host, config: Callable[..., DomainConfig], tmp_path: Path
) -> None:
    costs: dict[int, dict[str, Counter[str]]] = {}
    web = flat_host.create(config("pvh", name="web"))
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "web", timeout=60)
    for number in range(MANY):
        offhost.add(f"other{number}", kind="pv", introduced=False, memory=4)
        if number + 1 in {FEW, MANY}:
            for _ in range(6):  # until all names are watched
                flat_host.restore(tmp_path / "web", paused=True).destroy()
            own, workers = cost(offhost, lambda: flat_host.restore(tmp_path / "web", paused=True))
            costs[number + 1] = {"restore": own + workers}
            with pytest.raises(DomainExists, match="already has the name 'web'"):
                flat_host.restore(tmp_path / "web", config=config("pvh", name="web", uuid=uuid4()), paused=True)
            flat_host.domains["web"].destroy()
    check_that_nothing_grows(costs)


def steps(host: pyxen.Host, config: DomainConfig) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is done to a domain, from its create to its destroy."""
    found: list[pyxen.Domain] = []
    yield "create", lambda: found.append(host.create(config, paused=True))
    [web] = found
    yield "rename", partial(web.rename, "web2")
    yield "first lookup", lambda: host.domains["web2"]  # which lists all domains: in one hypercall
    yield "lookup", lambda: host.domains["web2"]
    yield from {"info": web.info, "unpause": web.unpause, "pause": web.pause, "destroy": web.destroy}.items()


def test_a_name_is_given_once(offhost: OffHost, flat_host: pyxen.Host, config: Callable[..., DomainConfig]) -> None:
    offhost.add("there", kind="pv")
    begun = [flat_host.begin.create(config("pv", name="web"), paused=True) for _ in range(3)]
    ends = [operation.exception() for operation in begun]
    assert [end for end in ends if end is not None and not isinstance(end, DomainExists)] == []
    assert [type(end) for end in ends].count(DomainExists) == 2
    web = flat_host.domains["web"]
    assert web.config().name == "web"
    assert offhost.store.read(f"/local/domain/{web.domid}/name") == "web"
    assert offhost.store.read(f"/vm/{web.uuid}/name") == "web"
    for name in ("web", "there"):
        with pytest.raises(DomainExists, match="already has the name"):
            flat_host.create(config("pv", name=name), paused=True)
    with pytest.raises(DomainExists, match="already has the name"):
        web.rename("there")
    web.rename("web")
    web.rename("web2")
    assert sorted(str(info.name) for info in flat_host.list()) == ["Domain-0", "there", "web2"]


def test_a_name_that_another_program_gives_meanwhile(
    offhost: OffHost, flat_host: pyxen.Host, config: Callable[..., DomainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    then(monkeypatch, lambda: offhost.add("web", kind="pv"))
    before = len(flat_host.list())
    with pytest.raises(DomainExists, match="already has the name 'web'"):
        flat_host.create(config("pv", name="web"), paused=True)
    assert len(flat_host.list()) == before + 1
    assert flat_host.domains["web"].info().memory_kib == 64 * 1024


def test_names_are_never_stale(offhost: OffHost) -> None:
    """A look says what was so at some moment of it, whatever other programs do: renames, new domains, reused domids."""
    host = pyxen.connect("xenlight:///")
    domid = offhost.add("web-0", kind="pv")
    for number in range(20):
        offhost.add(f"other-{number}", kind="pv")
    begun = done = 0
    uuids: dict[str, UUID] = {}
    over = threading.Event()

    def change() -> None:
        nonlocal begun, done
        try:
            for number in range(1, CHANGES):
                begun = number
                offhost.store.write(f"/local/domain/{domid}/name", f"web-{number}")
                done = number
                if number % 4 == 0:
                    uuid = uuids[f"short-{number}"] = uuid4()
                    short = offhost.add(f"short-{number}", uuid=uuid, kind="pv", introduced=False)
                    time.sleep(0)
                    offhost.world.remove(short)
                    offhost.store.remove(f"/local/domain/{short}")
        finally:
            over.set()

    other = threading.Thread(target=change)
    other.start()
    looks = 0
    with host:
        while not over.is_set() or looks == 0:
            looks += 1
            least = done
            infos = host.list()
            most = begun
            [name] = [info.name for info in infos if info.domid == domid]
            assert name is not None
            assert least <= int(name.removeprefix("web-")) <= most
            for info in infos:
                if info.name is not None and info.name.startswith("short-"):
                    assert info.uuid == uuids[info.name]
            least = done
            found = host.domains.get(f"web-{least}")
            assert found is not None or begun > least
            assert host.domains[domid].domid == domid
            old = host.domains.get(f"web-{least - 1}")
            assert old is None, "a name that the domain had before"
        other.join(60)
        assert host.domains[f"web-{CHANGES - 1}"].domid == domid
