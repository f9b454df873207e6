"""Domains that start and stop with their host: what becomes of each, and that a failure stops nothing."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pyxen.aio
import pyxen.aio.autostart
from pyxen import (
    DomainConfig,
    FileMissing,
    GuestTimeout,
    InvalidArgument,
    LossWarning,
    LossyConversion,
    MigrationFailed,
    OperationFailed,
    ParseError,
    xlcfg,
)
from pyxen.autostart import StartAction, StopAction, XendomainsSettings, start_all, stop_all
from pyxen.testing import FakeHost

DEFAULTS = XendomainsSettings()


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost(time="real") as host:
        yield host


@pytest.fixture
def settings(tmp_path: Path) -> XendomainsSettings:
    (tmp_path / "auto").mkdir()
    return XendomainsSettings(
        auto=str(tmp_path / "auto"), save=str(tmp_path / "save"), create_delay_s=0, stop_timeout_s=60, sysrq_delay_s=0
    )


def config(name: str, **settings: Any) -> DomainConfig:
    return DomainConfig(name, type="pvh", kernel="/boot/vmlinuz", memory=64).replace(**settings)


def auto(settings: XendomainsSettings, file: str, name: str) -> Path:
    """Have a domain start with the host."""
    path = Path(settings.auto or "", file)
    path.write_text(xlcfg.dumps(config(name)))
    return path


def booted(host: FakeHost, name: str) -> None:
    host.guest(host.create(config(name))).boot()


def test_configurations_are_created_in_order(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "10-web.cfg", "web")
    auto(settings, "20-db.cfg", "db")
    Path(settings.auto or "", "15-broken.cfg").write_text("name=[\n")
    Path(settings.auto or "", ".hidden").write_text("name=[\n")
    Path(settings.auto or "", "folder").mkdir()
    booted(host, "db")
    done = start_all(host, settings)
    assert [(Path(one.path).name, one.action, one.name) for one in done] == [
        ("10-web.cfg", StartAction.CREATED, "web"),
        ("15-broken.cfg", StartAction.FAILED, None),
        ("20-db.cfg", StartAction.RUNNING, "db"),
    ]
    assert isinstance(done[1].error, ParseError)
    assert done[0].domain == host.domains["web"]
    assert [one.action for one in start_all(host, settings)] == ["running", "failed", "running"]


def test_a_create_that_fails_stops_nothing(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "1", "web")
    auto(settings, "2", "db")
    host.fail("create", OperationFailed("no"), domain="web")
    assert [one.action for one in start_all(host, settings)] == ["failed", "created"]


def test_saved_domains_are_restored_first(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "web.cfg", "web")
    auto(settings, "db.cfg", "db")
    start_all(host, settings)
    for name in ("web", "db"):
        host.guest(host.domains[name]).boot()
    assert [(one.name, one.action) for one in stop_all(host, settings)] == [("db", "saved"), ("web", "saved")]
    save = Path(settings.save or "")
    assert sorted(path.name for path in save.iterdir()) == ["db", "web"]
    assert save.stat().st_mode & 0o77 == 0
    (save / "notes").write_text("not a saved domain")

    host.fail("restore", OperationFailed("damaged"), domain=str(save / "db"))
    done = start_all(host, settings)
    assert [(Path(one.path).name, one.action) for one in done] == [
        *(("db", "failed"), ("web", "restored")),
        *(("db.cfg", "skipped"), ("web.cfg", "running")),
    ]
    assert sorted(path.name for path in save.iterdir()) == ["db", "notes"]
    assert [one.action for one in start_all(host, settings)] == ["restored", "running", "running"]


def test_restoring_is_off(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "web.cfg", "web")
    booted(host, "web")
    stop_all(host, settings)
    done = start_all(host, replace(settings, restore=False))
    assert [one.action for one in done] == ["skipped"]


def test_only_those_that_start_with_the_host_are_saved(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "web.cfg", "web")
    for name in ("web", "other"):
        booted(host, name)
    done = stop_all(host, replace(settings, shutdown_all=False))
    assert [(one.name, one.action) for one in done] == [("web", "saved"), ("other", "left")]
    assert [(one.name, one.action) for one in stop_all(host, settings)] == [("other", "shut_down")]
    assert [info.domid for info in host.list()] == [0]


def test_what_fails_is_tried_otherwise(host: FakeHost, settings: XendomainsSettings) -> None:
    booted(host, "web")
    host.fail("save", OperationFailed("the disk is full"))
    everything = replace(settings, auto_only=False, migrate="host2", sysrq=("s",))
    (done,) = stop_all(host, everything)
    assert done.action is StopAction.SHUT_DOWN
    assert [type(error) for error in done.errors] == [InvalidArgument, OperationFailed]  # memory:/// runs no command


def test_guests_are_migrated(host: FakeHost, settings: XendomainsSettings) -> None:
    auto(settings, "web.cfg", "web")
    auto(settings, "db.cfg", "db")
    for name in ("web", "db", "other"):
        booted(host, name)
    was = host.domains["web"].info()
    with FakeHost(time="real", seed=2) as host2:  # else both give their guests the same uuids
        booted(host2, "db")  # that name is taken there
        done = stop_all(host, replace(settings, migrate=host2.uri, shutdown_all=False))
        assert [(one.name, one.action, one.path) for one in done] == [
            ("web", StopAction.MIGRATED, None),
            ("db", StopAction.SAVED, str(Path(settings.save or "", "db"))),
            ("other", StopAction.LEFT, None),
        ]
        assert done[0].errors == ()
        assert [type(error) for error in done[1].errors] == [MigrationFailed]
        there = host2.domains["web"].info()
        assert (there.uuid, there.is_running) == (was.uuid, True)
        assert sorted(str(domain.name) for domain in host2.guests) == ["db", "web"]
    assert [domain.name for domain in host.guests] == ["other"]
    assert not Path(settings.save or "", "web").exists()


def test_a_guest_that_does_not_answer(settings: XendomainsSettings) -> None:
    with FakeHost() as host:  # whose time passes at once: a guest that answers does so in time
        booted(host, "web")
        booted(host, "deaf")
        host.guest("deaf").answers = False
        done = stop_all(host, replace(settings, save=None, auto_only=False))
        assert [(one.name, one.action) for one in done] == [("web", "shut_down"), ("deaf", "failed")]
        assert all(isinstance(error, (GuestTimeout, TimeoutError)) for error in done[1].errors)
        assert [domain.name for domain in host.guests] == ["deaf"]


def test_shutting_down_without_waiting(host: FakeHost, settings: XendomainsSettings) -> None:
    booted(host, "web")
    (done,) = stop_all(host, replace(settings, save=None, auto_only=False, shutdown_waits=False))
    assert done.action is StopAction.ASKED


def test_nothing_is_to_be_done(host: FakeHost, settings: XendomainsSettings) -> None:
    booted(host, "web")
    idle = replace(settings, save=None, shutdown=False, shutdown_all=False, auto_only=False)
    assert [one.action for one in stop_all(host, idle)] == [StopAction.LEFT]
    assert start_all(host, XendomainsSettings(auto=None, save=None)) == ()
    assert start_all(host, replace(settings, auto="/nowhere")) == ()


def test_the_domain_of_xenstored_is_left(host: FakeHost, settings: XendomainsSettings) -> None:
    booted(host, "store")
    host.xenstore.write("/tool/xenstored/domid", str(host.domains["store"].domid))
    assert stop_all(host, replace(settings, auto_only=False)) == ()


def test_the_guests_of_a_pool_are_left_to_it(host: FakeHost, settings: XendomainsSettings) -> None:
    with host.pool(DomainConfig("web", kernel="/k", memory=16), size=1) as pool:
        pool.wait(timeout=60)
        assert stop_all(host, replace(settings, auto_only=False)) == ()
        assert [(domain.name or "").partition("--")[0] for domain in host.guests] == ["web"]
        assert pool.ready == 1


def test_a_host_without_settings(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.xendomains.FILES", ("/nowhere/default", "/nowhere/sysconfig"))
    calls: tuple[Callable[[], object], ...] = (
        XendomainsSettings.load,
        lambda: start_all(host),
        lambda: stop_all(host),
        lambda: asyncio.run(awaited(host.uri, pyxen.aio.autostart.start_all)),
        lambda: asyncio.run(awaited(host.uri, pyxen.aio.autostart.stop_all)),
    )
    for call in calls:
        with pytest.raises(FileMissing, match="/nowhere/default or /nowhere/sysconfig; install xen-utils") as caught:
            call()
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.filename == "/nowhere/default"
    with pytest.raises(FileNotFoundError):
        XendomainsSettings.load("/nowhere/else")


async def awaited(uri: str, call: Callable[[pyxen.aio.Host], Awaitable[object]]) -> object:
    async with await pyxen.aio.connect(uri) as host:
        return await call(host)


def test_a_timeout_that_is_none_is_no_fault_of_a_domain(host: FakeHost, settings: XendomainsSettings) -> None:
    with pytest.raises(InvalidArgument, match="timeout=nan"):
        start_all(host, settings, timeout=math.nan)


def test_several_at_once(host: FakeHost, settings: XendomainsSettings) -> None:
    for number in range(3):
        booted(host, f"web{number}")
    together = threading.Barrier(3)

    def meet(_: object) -> None:
        together.wait(60)

    stopping = replace(settings, auto_only=False, sysrq=("s",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyxen.autostart.time.sleep", meet)
        assert [one.action for one in stop_all(host, stopping, parallel=3)] == ["saved"] * 3
    with pytest.raises(InvalidArgument, match="parallel=0 is out of range"):
        stop_all(host, settings, parallel=0)


@pytest.mark.parametrize("parallel", [float("nan"), 2.5, "4", None, True])
def test_what_is_no_number_of_domains(host: FakeHost, settings: XendomainsSettings, parallel: Any) -> None:
    with pytest.raises(InvalidArgument, match="takes a whole number, not"):
        stop_all(host, settings, parallel=parallel)


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "xendomains"
    path.write_text(
        """
        # comment
        XENDOMAINS_AUTO="/srv/auto folder"   # quoted
        XENDOMAINS_SAVE=
        XENDOMAINS_RESTORE=false
        XENDOMAINS_MIGRATE="--live host2"
        XENDOMAINS_SHUTDOWN="--wait"
        XENDOMAINS_SHUTDOWN_ALL=--all
        XENDOMAINS_AUTO_ONLY="false"
        XENDOMAINS_CREATE_USLEEP=1500000
        XENDOMAINS_STOP_MAXWAIT=0
        XENDOMAINS_SYSRQ="s e i"
        export XENDOMAINS_USLEEP=1200000
        OTHER=$HOME
        """
    )
    assert XendomainsSettings.load(path) == XendomainsSettings(
        auto="/srv/auto folder",
        save=None,
        restore=False,
        migrate="host2",
        shutdown_all_waits=False,
        auto_only=False,
        create_delay_s=1.5,
        stop_timeout_s=None,
        sysrq=("s", "e", "i"),
        sysrq_delay_s=1.2,
    )
    assert XendomainsSettings.loads("") == DEFAULTS
    assert XendomainsSettings.loads('XENDOMAINS_SHUTDOWN=""\n').shutdown is False


def test_settings_that_cannot_be_honoured() -> None:
    text = "XENDOMAINS_MIGRATE='-d host2'\nXENDOMAINS_SHUTDOWN='--wait --force'\nXENDOMAINS_SAVEE=/srv\n"
    with pytest.raises(LossyConversion) as caught:
        XendomainsSettings.loads(text, on_loss="raise")
    assert [loss.path for loss in caught.value.losses] == [
        *("XENDOMAINS_MIGRATE (line 1)", "XENDOMAINS_SHUTDOWN (line 2)", "XENDOMAINS_SAVEE (line 3)")
    ]
    with pytest.warns(LossWarning, match="xendomains has no such setting"):
        XendomainsSettings.loads("XENDOMAINS_SAVEE=/srv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("XENDOMAINS_AUTO=$HOME/auto", "not run by a shell"),
        ("XENDOMAINS_AUTO=`pwd`", "not run by a shell"),
        ("XENDOMAINS_STOP_MAXWAIT=soon", "not a number of seconds"),
        ("XENDOMAINS_USLEEP=-1", "not a number of microseconds"),
        ("XENDOMAINS_MIGRATE='-s ssh host2'", "one host is needed"),
        ("XENDOMAINS_AUTO='/etc", "No closing quotation"),
        ("XENDOMAINS_AUTO = /etc", "is not an assignment"),
        ("if true; then", "is not an assignment"),
    ],
)
def test_settings_that_are_not_valid(line: str, message: str) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        XendomainsSettings.loads(f"\n{line}\n", source="/etc/default/xendomains")
    assert (caught.value.line, caught.value.source) == (2, "/etc/default/xendomains")
