"""The supervisor acts on the ends of real domains, whoever made them."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import pyxen
from pyxen import (
    Brake,
    Disk,
    Domain,
    DomainCreated,
    DomainExists,
    DomainNotFound,
    DomainShutdown,
    DomainState,
    FileMissing,
    Host,
    InvalidState,
    Outcome,
    ShutdownReason,
    Supervisor,
    UnsupportedFeature,
    libvirtxml,
)
from pyxen.supervisor import watcher_of
from pyxen.supervisor.policy import is_preserved
from tests.xen.support import (
    MakeConfig,
    MakeDomain,
    end_guest,
    wait_for_firmware,
    wait_until,
    xl,
    xl_domids,
)

SECONDS = 60
AT_ONCE = Brake(min_uptime=0)
NEVER = Brake(first_delay=1000, max_delay=1000)

XlConfig = Callable[..., str]


class Told(SimpleQueue[Outcome]):
    """The outcomes that a supervisor told of."""

    def next(self) -> Outcome:
        return self.get(timeout=SECONDS)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def xl_config(tmp_path: Path, tiny: MakeConfig) -> XlConfig:
    """Write a configuration for xl, of a tiny PVH guest."""

    def write(name: str, **settings: str) -> str:
        path = tmp_path / f"{name}.cfg"
        fixed = {"name": name, "type": "pvh", "kernel": tiny("pvh").kernel}
        lines = [f'{key} = "{value}"' for key, value in {**fixed, **settings}.items()]
        path.write_text("\n".join([*lines, "memory = 8", "shadow_memory = 1", ""]))
        return str(path)

    return write


@pytest.fixture(autouse=True)
def nothing_on_disk() -> Iterator[None]:
    """Check that libxl keeps nothing of a domain that is gone."""
    before = set(glob.glob("/var/lib/xen/userdata-*"))
    yield
    assert set(glob.glob("/var/lib/xen/userdata-*")) <= before


def alive(domain: Domain | None) -> bool:
    return domain is not None and domain.info().state not in {DomainState.SHUTDOWN, DomainState.CRASHED}


def with_state(host: Host, state: DomainState) -> list[str | None]:
    return [info.name for info in host.list() if info.state is state]


# What follows on which end


def test_a_guest_that_powers_off_is_destroyed(host: Host, tiny: MakeConfig, told: Told) -> None:
    with Supervisor(host, on_outcome=told.put):
        domain = host.create(tiny(cmdline="poweroff"))
        outcome = told.next()
    assert (outcome.domid, outcome.uuid, outcome.name) == (domain.domid, domain.uuid, "tiny")
    assert (str(outcome.action), outcome.restarted, outcome.preserved, outcome.error) == ("destroy", None, None, None)
    with pytest.raises(DomainNotFound):
        domain.info()


def test_a_guest_that_reboots_is_restarted(host: Host, tiny: MakeConfig, told: Told) -> None:
    with Supervisor(host, on_outcome=told.put, brake=AT_ONCE):
        first = host.create(tiny(name="again", cmdline="reboot", memory=9))
        outcomes = [told.next(), told.next()]
    for outcome, domid in zip(
        outcomes, (first.domid, outcomes[0].restarted and outcomes[0].restarted.domid), strict=True
    ):
        assert outcome.domid == domid
        assert outcome.restarted is not None
        assert (outcome.uuid, outcome.restarted.uuid, outcome.error) == (first.uuid, first.uuid, None)
        assert outcome.restarted.domid != domid
    last = host.domains[first.uuid]
    assert last.info().name == "again"
    assert (last.config().memory, last.config().cmdline) == (9, "reboot")
    last.destroy()


@pytest.mark.parametrize("kind", ["pv", "pvh", pytest.param("hvm", marks=pytest.mark.long)])
def test_each_type_of_guest_is_restarted(host: Host, tiny: MakeConfig, told: Told, kind: str) -> None:
    domain = host.create(tiny(kind, on_crash="restart"))
    with Supervisor(host, on_outcome=told.put):
        crash(domain)
        outcome = told.next()
    assert outcome.error is None
    assert alive(outcome.restarted)
    host.domains["tiny"].destroy()


def crash(domain: Domain) -> None:
    """Let a domain crash, as Xen does with a guest that is beyond help."""
    end_guest(domain, ShutdownReason.CRASH)


def test_a_crashed_domain_is_preserved(host: Host, tiny: MakeConfig, told: Told) -> None:
    with Supervisor(host, on_outcome=told.put):
        domain = host.create(tiny(cmdline="crash", on_crash="preserve"))
        outcome = told.next()
    assert outcome.preserved == domain
    assert domain.info().state is DomainState.CRASHED
    with Supervisor(host, on_outcome=told.put):
        assert told.next().preserved == domain  # the next one finds it, and leaves it
    domain.destroy()


def test_restart_rename(host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    first = host.create(tiny(name="web1", on_crash="restart_rename"))
    with Supervisor(host, on_outcome=told.put, brake=AT_ONCE):
        crash(first)
        outcomes = [told.next()]
        assert outcomes[0].restarted is not None
        crash(outcomes[0].restarted)  # within the same minute, more often than not
        outcomes.append(told.next())
    running = outcomes[1].restarted
    assert running is not None
    assert (running.uuid, running.info().name) == (first.uuid, "web1")
    assert alive(running)
    preserved = [outcome.preserved for outcome in outcomes]
    for domain in preserved:
        assert domain is not None
        info = domain.info()
        assert (info.state, info.uuid) == (DomainState.CRASHED, domain.uuid)
        assert info.name is not None
        assert info.name.startswith("web1-")
        assert is_preserved(info.name)
        assert domain.config().name == info.name
        assert domain.config().uuid == domain.uuid
        assert xl_domids()[info.name] == domain.domid
        assert xl("domid", info.name).strip() == str(domain.domid)
    assert len({domain.uuid for domain in [*preserved, running] if domain}) == 3
    assert host.domains[first.uuid] == running
    caplog.set_level(logging.INFO, "pyxen.supervisor")
    with Supervisor(host, on_outcome=told.put):  # the next one does not take them up
        wait_until(lambda: caplog.text.count("its name is that of a preserved domain") == 2)
    assert told.empty()
    for domain in [*preserved, running]:
        assert domain is not None
        domain.destroy()


@pytest.mark.long
def test_coredump_destroy(host: Host, willing: MakeDomain, tiny: MakeConfig, told: Told, tmp_path: Path) -> None:
    folder = Path("/var/tmp") / tmp_path.name
    domain = willing(on_crash="coredump_destroy")
    other = host.create(tiny(on_crash="restart"))
    name = domain.info().name
    assert name is not None
    with Supervisor(host, on_outcome=told.put, dump_dir=str(folder)):
        crash(domain)
        wait_until(lambda: dumping() is not None)
        os.kill(dumping() or 0, signal.SIGSTOP)
        crash(other)
        assert alive(told.next().restarted)  # it does not wait for the dump
    assert told.empty()
    assert list(folder.iterdir()) == []
    assert domain.info().state is DomainState.CRASHED
    with Supervisor(host, on_outcome=told.put, dump_dir=str(folder)):  # begins again
        outcome = told.next()
    core = folder / name
    assert (outcome.core, outcome.error) == (str(core), None)
    assert core.read_bytes()[:4] == b"\x7fELF"
    assert list(folder.iterdir()) == [core]
    core.unlink()
    assert host.domains.get(domain.uuid) is None
    host.domains["tiny"].destroy()


def dumping() -> int | None:
    """Return the process that writes a core dump."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"pyxen.supervisor.dump_process" in path.read_bytes():
                return int(path.parent.name)
    return None


def test_a_dump_that_fails_does_not_keep_a_domain_from_its_restart(
    host: Host, tiny: MakeConfig, told: Told, tmp_path: Path
) -> None:
    domain = host.create(tiny("pv", on_crash="coredump_restart"))
    with Supervisor(host, on_outcome=told.put, dump_dir=str(tmp_path / "dump")):
        crash(domain)
        outcome = told.next()
    assert outcome.core is None
    assert "p2m_size" in str(outcome.error)
    assert alive(outcome.restarted)
    assert list((tmp_path / "dump").iterdir()) == []
    host.domains["tiny"].destroy()


def test_a_soft_reset(host: Host, tiny: MakeConfig, told: Told) -> None:
    domain = host.create(tiny("hvm", disks=[], on_crash="destroy"))
    wait_for_firmware(domain)
    before = domain.config()
    with pytest.raises(InvalidState, match="has not shut down"):
        domain.soft_reset()
    end_guest(domain, ShutdownReason.SOFT_RESET)
    domain.wait(timeout=SECONDS)
    with pyxen.connect(workers=0) as alone, pytest.raises(UnsupportedFeature, match="worker"):
        alone.domains[domain.uuid].soft_reset()
    with Supervisor(host, on_outcome=told.put):
        outcome = told.next()
        assert (outcome.reason, outcome.restarted, outcome.error) == (ShutdownReason.SOFT_RESET, domain, None)
        assert alive(domain)
        assert domain.config() == before
        crash(domain)  # it is still looked after
        assert told.next().reason is ShutdownReason.CRASH
    assert domain not in host.domains


def test_two_soft_resets_at_once(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm", disks=[]))
    wait_for_firmware(domain)
    end_guest(domain, ShutdownReason.SOFT_RESET)
    domain.wait(timeout=SECONDS)
    first = domain.begin.soft_reset(timeout=SECONDS)
    with pytest.raises(InvalidState, match="a soft_reset that this process has begun restarts the guest"):
        domain.soft_reset()
    first.result(SECONDS)
    assert alive(domain)
    with pytest.raises(InvalidState, match="has not shut down"):
        domain.soft_reset()
    domain.destroy()


def test_a_soft_reset_that_cannot_be_preserves(host: Host, tiny: MakeConfig, told: Told) -> None:
    with Supervisor(host, on_outcome=told.put, brake=AT_ONCE):
        domain = host.create(tiny(cmdline="crash", on_crash="soft_reset"))
        outcome = told.next()
    assert outcome.preserved == domain
    assert isinstance(outcome.error, NotImplementedError)
    domain.destroy()


# Crash loops


def test_a_crash_loop_meets_the_brake(
    host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pyxen.supervisor")
    with Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=1000, first_delay=0.25)):
        domain = host.create(tiny(cmdline="crash", on_crash="restart"))
        for _ in range(3):
            assert told.next().restarted is not None
        wait_until(lambda: len(caplog.messages) == 4)
    delays = [message.rpartition(": ")[2] for message in caplog.messages]
    assert delays == [f"restarted in {seconds:g} s only" for seconds in (0.25, 0.5, 1, 2)]
    last = host.domains[domain.uuid]
    assert last.info().state is DomainState.CRASHED  # kept for the next supervisor, which knows nothing of its start
    with Supervisor(host, on_outcome=told.put, brake=NEVER):
        outcome = told.next()
        assert (outcome.domid, outcome.restarted is not None) == (last.domid, True)
    host.domains[domain.uuid].destroy()


def test_who_destroys_a_domain_ends_its_loop(
    host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=1000, first_delay=2)):
        domain = host.create(tiny(cmdline="reboot"))
        wait_until(lambda: "restarted in 2 s only" in caplog.text)
        domain.destroy()
        host.create(tiny(name="other", cmdline="poweroff"))
        assert told.next().name == "other"
    assert host.domains.get(domain.uuid) is None


# What goes wrong


def test_a_domain_whose_disk_is_gone_stops_nothing_else(
    host: Host, tiny: MakeConfig, told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = Disk(str(image), vdev="xvda")
    broken = host.create(tiny(name="broken", disks=[disk], on_crash="restart"))
    good = host.create(tiny(name="good", on_crash="restart"))
    image.unlink()
    with Supervisor(host, on_outcome=told.put, brake=Brake(first_delay=0.5, max_delay=0.5)):
        crash(broken)
        crash(good)
        outcomes = {outcome.name: outcome for outcome in (told.next(), told.next())}
    assert alive(outcomes["good"].restarted)
    assert isinstance(outcomes["broken"].error, FileMissing)
    assert outcomes["broken"].restarted is None
    config = outcomes["broken"].config
    assert config is not None
    assert config.uuid == broken.uuid
    assert caplog.text.count("cannot be created, tried again") == 4
    assert "broken" in caplog.text.rpartition("is not restarted")[0]
    image.write_bytes(bytes(1 << 20))
    host.create(config).destroy()
    host.domains["good"].destroy()


def test_the_mistakes_of_a_callback_are_logged(
    host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def on_outcome(outcome: Outcome) -> None:
        told.put(outcome)
        raise ZeroDivisionError

    with Supervisor(host, on_outcome=on_outcome):
        for name in ("one", "two"):
            host.create(tiny(name=name, cmdline="poweroff"))
            assert told.next().name == name
    assert caplog.text.count("on_outcome failed") == 2


def test_a_domain_without_a_configuration_is_left_alone(
    host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pyxen.supervisor")
    domain = host.create(tiny(cmdline="poweroff"), paused=True)
    Path(f"/var/lib/xen/userdata-d.{domain.domid}.{domain.uuid}.libxl-json").unlink()
    with Supervisor(host, on_outcome=told.put):
        domain.unpause()
        wait_until(lambda: "keeps no configuration" in caplog.text)
    assert told.empty()
    assert domain.info().state is DomainState.SHUTDOWN
    domain.destroy()


def test_a_suspended_guest_is_nobodys_business(host: Host, willing: MakeDomain, told: Told, tiny: MakeConfig) -> None:
    guest = willing(on_poweroff="preserve")
    with Supervisor(host, on_outcome=told.put), host.events(DomainShutdown, domain=guest) as events:
        guest.suspend(timeout=60)
        assert events.get(SECONDS) is not None
        host.create(tiny(cmdline="poweroff"))
        assert told.next().name == "tiny"
        guest.resume()
        guest.shutdown(timeout=60)
        outcome = told.next()
    assert outcome.preserved == guest
    guest.destroy()


def test_preserve(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny(cmdline="crash", on_crash="preserve"), paused=True)
    with pytest.raises(InvalidState, match="has not ended"):
        domain.preserve("-old")
    domain.unpause()
    domain.wait(timeout=SECONDS)
    other = host.create(tiny(name="tiny-old"))
    with pytest.raises(DomainExists):
        domain.preserve("-old")
    assert domain.config().name == "tiny"
    other.destroy()
    preserved = domain.preserve("-old")
    assert (preserved.domid, preserved.info().name) == (domain.domid, "tiny-old")
    with pytest.raises(DomainNotFound):
        domain.info()
    host.create(tiny(uuid=domain.uuid)).destroy()
    assert preserved.config().on_crash == "preserve"
    preserved.destroy()


# Beside others, before and after


def test_what_ended_before(host: Host, tiny: MakeConfig, told: Told) -> None:
    domain = host.create(tiny(cmdline="poweroff"))
    domain.wait(timeout=SECONDS)
    for _ in range(2):
        with Supervisor(host, on_outcome=told.put):
            assert told.next().domid == domain.domid
        domain = host.create(tiny(cmdline="poweroff"))
    domain.wait(timeout=SECONDS)
    domain.destroy()


def test_xls_own_process_is_left_to_it(
    host: Host, told: Told, xl_config: XlConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pyxen.supervisor")
    with Supervisor(host, on_outcome=told.put), host.events(DomainCreated) as events:
        xl("create", xl_config("theirs", on_crash="restart"))
        assert events.get(SECONDS) is not None
        crash(host.domains["theirs"])
        again = events.get(SECONDS)  # by xl
        assert again is not None
        assert again.name == "theirs"
        wait_until(lambda: "it is supervised by xl (process" in caplog.text)
        process = xl_process(host.domains["theirs"])
    assert told.empty()
    host.domains["theirs"].destroy()
    wait_until(lambda: not Path(f"/proc/{process}").exists())


def xl_process(domain: Domain) -> int:
    watcher = watcher_of(domain.info())
    assert watcher is not None
    assert watcher.startswith("xl (process ")
    return int(watcher.removeprefix("xl (process ").removesuffix(")"))


def test_what_xl_made_and_does_not_watch(host: Host, told: Told, xl_config: XlConfig) -> None:
    with Supervisor(host, on_outcome=told.put):
        xl("create", "-e", xl_config("brief", cmdline="poweroff"))
        assert told.next().name == "brief"
        xl("create", "-p", xl_config("orphan", cmdline="poweroff"))
        domain = host.domains["orphan"]
        os.kill(xl_process(domain), signal.SIGKILL)
        domain.unpause()
        outcome = told.next()
    assert (outcome.domid, str(outcome.action), outcome.error) == (domain.domid, "destroy", None)
    assert "orphan" not in xl_domids()


@pytest.fixture
def libvirtd() -> Iterator[int]:
    """Libvirt's daemon, by its process."""
    for folder in ("/run/libvirt", "/var/log/libvirt/libxl"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    answers = ["virsh", "-c", "xen:///system", "version"]
    with quietly("virtlogd") as logd, quietly("libvirtd") as daemon:
        wait_until(lambda: subprocess.run(answers, check=False, capture_output=True, timeout=120).returncode == 0)
        yield daemon.pid
        for process in (daemon, logd):
            process.kill()
    for socket in Path("/run/libvirt").glob("*sock*"):
        socket.unlink()  # a daemon that was killed leaves them, and the next one would not begin


def quietly(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_libvirts_domains_are_left_to_it(
    host: Host, tiny: MakeConfig, told: Told, caplog: pytest.LogCaptureFixture, tmp_path: Path, libvirtd: int
) -> None:
    caplog.set_level(logging.INFO, "pyxen.supervisor")
    xml = tmp_path / "theirs.xml"
    config = tiny(name="theirs", cmdline="crash", on_crash="preserve")
    xml.write_text(libvirtxml.dumps(config, on_loss="ignore"))
    subprocess.run(["virsh", "-c", "xen:///system", "create", "--paused", str(xml)], check=True, timeout=120)
    domain = host.domains["theirs"]
    with Supervisor(host, on_outcome=told.put):
        domain.unpause()
        wait_until(lambda: "theirs" in caplog.text)
    assert caplog.text.count("it is supervised by libvirt") == 1
    assert told.empty()
    os.kill(libvirtd, signal.SIGKILL)
    with Supervisor(host, on_outcome=told.put):  # now nobody else is there
        assert told.next().preserved == domain
    domain.destroy()


def test_many_at_once(host: Host, tiny: MakeConfig, told: Told) -> None:
    domains = [host.create(tiny(name=f"many{number}", cmdline="reboot"), paused=True) for number in range(5)]
    with Supervisor(host, on_outcome=told.put, brake=NEVER):
        pass  # they have not ended
    for domain in domains:
        domain.unpause()
        domain.wait(timeout=SECONDS)
    with Supervisor(host, on_outcome=told.put, brake=NEVER):
        outcomes = [told.next() for _ in domains]
    assert {outcome.uuid for outcome in outcomes} == {domain.uuid for domain in domains}
    assert [outcome.error for outcome in outcomes] == [None] * len(domains)
    for outcome in outcomes:
        assert outcome.restarted is not None
        outcome.restarted.destroy()


# The command


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_the_command(host: Host, tiny: MakeConfig, number: signal.Signals) -> None:
    command = [sys.executable, "-c", "from pyxen.cli.supervise import supervise; supervise()"]
    process: subprocess.Popen[Any] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        assert "supervising" in lines[0]
        domain = host.create(tiny(cmdline="poweroff"))
        wait_until(lambda: host.domains.get(domain.uuid) is None)
        process.send_signal(number)
        lines += process.stderr.readlines()
    assert process.returncode == 0
    assert f"tiny ({domain.domid}): has ended, reason poweroff: destroy" in "".join(lines)
    assert "stopped" in lines[-1]
