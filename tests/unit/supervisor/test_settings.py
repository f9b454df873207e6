"""What a supervisor is given, and what functions of its user may do to it: one domain may suffer, the others do not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pyxen import Brake, DomainConfig, DomainCreated, DomainInfo, Host, InvalidArgument, ShutdownReason, Supervisor
from pyxen.supervisor import work
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import Told, about, begun, end, lost, supervise, wait_until

WEB = DomainConfig("web1", type="pvh", kernel="/k", memory=16)


def test_a_brake_of_other_numbers_brakes(told: Told) -> None:
    brake: Any = Brake(min_uptime=Decimal(1000), first_delay=Decimal("0.01"), max_delay=10**400)  # type: ignore[arg-type]
    with FakeHost() as fake, supervise(fake, told, brake=brake):
        fake.guest(fake.create(WEB)).reboot()
        assert told.next().restarted is not None


@pytest.mark.parametrize("brake", [5, 0, "slow", Brake])
def test_what_is_no_brake(host: Host, brake: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"takes a Brake, not .*, as the brake"):
        Supervisor(host, brake=brake)


@pytest.mark.parametrize("folder", [None, 5, b"/var/dumps", "", "a\0b"])
def test_what_is_no_folder_for_dumps(host: Host, folder: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"as the path|is no folder for core dumps"):
        Supervisor(host, dump_dir=folder)


def test_a_folder_for_dumps_may_be_a_path(told: Told, tmp_path: Path) -> None:
    folder: Any = tmp_path
    with FakeHost() as fake, supervise(fake, told, dump_dir=folder):
        fake.guest(fake.create(WEB.replace(on_crash="coredump_destroy"))).crash()
        assert told.next().core == str(tmp_path / "web1")


async def never() -> None:
    """Not awaited by anyone."""


@pytest.mark.parametrize(
    "answer", [lambda: False, lambda: 5, lambda: ["me"], never], ids=["False", "5", "list", "async"]
)
def test_a_function_that_does_not_say_whether_to_leave_a_domain(
    host: Host, backend: FakeBackend, told: Told, answer: Any
) -> None:
    asked: list[int] = []

    def leave(info: DomainInfo) -> Any:
        asked.append(info.domid)
        return answer() if info.domid == 3 else None

    with supervise(host, told, leave=leave):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        outcome = told.next()
        assert isinstance(outcome.error, InvalidArgument)
        assert (outcome.domid, outcome.preserved is not None) == (3, True)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert (told.next().domid, asked, backend.destroyed) == (4, [3, 4], [4])


class Broken(Brake):
    """A brake that does not work."""

    def delay(self, short_lives: int) -> float:
        if short_lives:
            raise ZeroDivisionError("broken")
        return 0.0


def test_a_brake_that_raises_costs_one_restart(host: Host, backend: FakeBackend, told: Told) -> None:
    web1 = backend.infos.pop(1)
    with supervise(host, told, brake=Broken()):
        backend.infos.append(web1)
        backend.tell(DomainCreated(**about(web1)))
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        outcome = told.next()
        assert (outcome.domid, str(outcome.error), outcome.preserved is not None) == (3, "broken", True)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4


def test_a_brake_that_raises_after_a_destroy_loses_no_configuration(
    host: Host, backend: FakeBackend, told: Told
) -> None:
    with supervise(host, told, brake=Broken()):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "create")[0].set_exception(MemoryError("no"))
        assert told.next().config is not None
        backend.tell(end(backend, 4, ShutdownReason.REBOOT))
        begun(backend, "create", 2)[1].set_exception(OSError("no"))
        outcome = told.next()
        assert (outcome.domid, str(outcome.error), outcome.config is not None) == (4, "broken", True)
    assert told.empty()


@pytest.mark.parametrize("step", ["_judge", "_done"])
def test_a_fault_of_its_own_costs_one_domain(
    host: Host,
    backend: FakeBackend,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
) -> None:
    real = getattr(work.Work, step)

    def broken(self: work.Work, key: tuple[int, object], what: object) -> None:
        if key[0] == 3:
            raise ZeroDivisionError("broken")
        real(self, key, what)

    monkeypatch.setattr(work.Work, step, broken)
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        assert told.next().domid == 3
        wait_until(lambda: "left as it is: broken" in caplog.text)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        wait_until(lambda: 4 in backend.destroyed)


def test_a_list_of_domains_that_cannot_be_read_is_asked_for_again(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_MOST_APART", 0.1)
    failures: list[Exception] = [MemoryError("none left"), TypeError("broken")]
    listed = backend.list

    def fails() -> list[DomainInfo]:
        if failures:
            raise failures.pop()
        return listed()

    with supervise(host, told):
        monkeypatch.setattr(backend, "list", fails)
        end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(lost())
        assert told.next().domid == 3
    assert failures == []
