"""Who else acts on a domain, told from processes and files as xl and libvirt have them."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from pyxen import DomainState, OperationFailed
from pyxen.supervisor import watchers
from pyxen.supervisor.watchers import Watchers
from tests.unit.infos import domain_info
from tests.waiting import SECONDS, join

INFO = domain_info(7, "web1", UUID(int=7), DomainState.SHUTDOWN)
WAITING = "Waiting for domain web1 (domid {domid}) to die [pid {pid}]\n"
REBOOTING = "Domain 5 has shut down, reason code 1 0x1\nDone. Rebooting now\n"


class Processes:
    """What /proc shows of the processes that a test makes up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.libvirt = folder / "libvirt"
        self.watchers = Watchers(str(folder / "proc"), str(self.libvirt), os.geteuid())
        for path in (folder / "proc", self.logs, self.libvirt):
            path.mkdir()
        (folder / "proc" / "meminfo").write_text("")

    def start(self, pid: int, *command: str, log: str | None = None, name: str = "xl-web1.log") -> None:
        process = self.folder / "proc" / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "comm").write_text(command[0].rpartition("/")[2][:15] + "\n")
        (process / "cmdline").write_text("\0".join(command) + "\0")
        if log is not None:
            (self.logs / name).write_text(log)
            (process / "fd" / "1").symlink_to(self.logs / name)

    def end(self, pid: int) -> None:
        """End a process; its parent has not yet asked how."""
        (self.folder / "proc" / str(pid) / "cmdline").write_text("")


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_an_xl_that_waits_for_the_domain(processes: Processes) -> None:
    processes.start(1, "/sbin/init")
    processes.start(40, "/usr/lib/xen-4.20/bin/xl", "create", "a.cfg", log=WAITING.format(domid=7, pid=40))
    assert processes.watchers.of(INFO) == "xl (process 40)"


def test_an_xl_that_waits_for_another(processes: Processes) -> None:
    processes.start(40, "xl", "create", "a.cfg", log=WAITING.format(domid=5, pid=40))
    assert processes.watchers.of(INFO) is None


def test_an_xl_that_has_preserved_the_domain(processes: Processes) -> None:
    log = WAITING.format(domid=7, pid=40) + REBOOTING + WAITING.format(domid=8, pid=40)
    processes.start(40, "xl", "create", "a.cfg", log=log)
    assert processes.watchers.of(INFO) == "xl (process 40)"


def test_an_xl_that_restarts_the_domain(processes: Processes) -> None:
    processes.start(40, "xl", "create", "a.cfg", log=WAITING.format(domid=7, pid=40) + REBOOTING)
    assert processes.watchers.of(INFO) == "xl (process 40)"


def test_an_xl_that_hands_over_to_its_child(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.start(40, "xl", "create", "a.cfg")
    listdir = os.listdir

    def hand_over(path: str) -> list[str]:
        found = listdir(path)
        if "41" not in found:
            processes.end(40)
            processes.start(41, "xl", "create", "a.cfg", log=WAITING.format(domid=7, pid=41))
        return found

    monkeypatch.setattr(os, "listdir", hand_over)
    assert processes.watchers.of(INFO) == "xl (process 41)"


def test_xls_that_wait_for_nothing(processes: Processes) -> None:
    processes.start(40, "xl", "top")
    processes.start(41, "xl", "create", "-F", "a.cfg")
    processes.start(42, "xl", "console", "web1")
    processes.start(43, "vim", "create", log=WAITING.format(domid=7, pid=43))
    assert processes.watchers.of(INFO) is None


@pytest.mark.parametrize("before", [None, WAITING.format(domid=5, pid=40) + REBOOTING, WAITING.format(domid=7, pid=39)])
def test_an_xl_that_creates_is_waited_for(
    processes: Processes, before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "_TO_SAY", SECONDS)
    processes.start(40, "xl", "-v", "cre", "a.cfg", log=before or "")
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(processes.watchers.of(INFO)))
    thread.start()
    time.sleep(0.3)
    assert found == []
    with (processes.logs / "xl-web1.log").open("a") as log:
        log.write(WAITING.format(domid=7, pid=40))
    join(thread)
    assert found == ["xl (process 40)"]


def test_an_xl_that_creates_and_goes(processes: Processes) -> None:
    processes.start(40, "xl", "create", "-e", "a.cfg")
    threading.Timer(0.3, processes.end, [40]).start()
    assert processes.watchers.of(INFO) is None


@pytest.mark.parametrize("daemon", ["libvirtd", "virtxend", None])
@pytest.mark.parametrize("uuid", [INFO.uuid, UUID(int=8), None])
def test_libvirt(processes: Processes, daemon: str | None, uuid: UUID | None) -> None:
    if daemon is not None:
        processes.start(50, f"/usr/sbin/{daemon}")
    if uuid is not None:
        (processes.libvirt / "web1.xml").write_text(f"<domstatus><domain id='7'><uuid>{uuid}</uuid></domain>")
    expected = "libvirt" if daemon is not None and uuid == INFO.uuid else None
    assert processes.watchers.of(INFO) == expected
    if daemon is not None:
        processes.end(50)
        assert processes.watchers.of(INFO) is None


# Those who pretend


def test_a_process_of_somebody_elses(processes: Processes) -> None:
    processes.start(40, "xl", "create", "a.cfg", log=WAITING.format(domid=7, pid=40))
    os.chown(processes.folder / "proc" / "40", 12345, 12345)
    assert processes.watchers.of(INFO) is None


def test_a_log_of_somebody_elses(processes: Processes) -> None:
    processes.start(40, "xl", "top", log=WAITING.format(domid=7, pid=40))
    os.chown(processes.logs / "xl-web1.log", 12345, 12345)
    assert processes.watchers.of(INFO) is None


def test_a_pipe_for_a_log(processes: Processes) -> None:
    processes.start(40, "xl", "top")
    os.mkfifo(processes.logs / "xl-web1.log")
    (processes.folder / "proc" / "40" / "fd" / "1").symlink_to(processes.logs / "xl-web1.log")
    began = time.monotonic()
    assert processes.watchers.of(INFO) is None
    assert time.monotonic() - began < 60


def test_a_name_that_looks_like_the_rest_of_a_line(processes: Processes) -> None:
    forged = WAITING.format(domid=7, pid=40).removeprefix("Waiting for domain ")
    processes.start(40, "xl", "top", log=f"Waiting for domain {forged.rstrip()} (domid 5) to die [pid 40]\n{forged}")
    assert processes.watchers.of(INFO) is None


def test_a_log_that_is_huge(processes: Processes) -> None:
    processes.start(40, "xl", "top", log="x" * 79 + "\n")
    with (processes.logs / "xl-web1.log").open("ab") as log:
        log.truncate(1 << 36)
        log.seek(0, os.SEEK_END)
        log.write(b"\n" + WAITING.format(domid=7, pid=40).encode())
    assert processes.watchers.of(INFO) == "xl (process 40)"


def test_a_name_that_leads_out_of_libvirts_folder(processes: Processes) -> None:
    processes.start(50, "/usr/sbin/libvirtd")
    (processes.folder / "web.xml").write_text(f"<uuid>{INFO.uuid}</uuid>")
    assert processes.watchers.of(replace(INFO, name="../web")) is None


def test_an_xl_whose_log_only_root_can_see(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.start(40, "/usr/sbin/xl", "create", "a.cfg", log=WAITING.format(domid=7, pid=40))

    def refuse(path: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refuse)
    with pytest.raises(OperationFailed, match=r"only root can see which domain xl \(process 40\) watches"):
        processes.watchers.of(INFO)
