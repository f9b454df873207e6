"""Processes that create and destroy domains for this one: what they do, and what happens when they, or we, die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import FileMissing, Host, InvalidArgument, OperationFailed, OperationTimeout
from tests.xen.support import MakeConfig, children, joined, wait_until, xl_domids


def worker_pids(parent: int | None = None) -> list[int]:
    """Return the workers of a process, by default of this one."""
    return list(filter(is_worker, children(parent)))


def is_worker(pid: int) -> bool:
    """Tell whether a process is a worker that runs."""
    try:
        return b"/pyxen-worker-" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def others() -> list[int]:
    """The workers that are there for other hosts."""
    return worker_pids()


@pytest.fixture
def two(tiny: MakeConfig, others: list[int]) -> Iterator[tuple[Host, list[int]]]:
    """A host with two workers that are ready, and their pids."""
    with pyxen.connect(workers=2) as host:
        host.create(tiny(name="first")).destroy()
        pids = [pid for pid in worker_pids() if pid not in others]
        assert len(pids) == 2
        wait_until(lambda: all(any_open(pid, "/dev/xen/privcmd") for pid in pids))
        time.sleep(0.5)  # until they have said that they are ready
        yield host, pids


def any_open(pid: int, path: str) -> bool:
    """Tell whether a process has a file open."""
    return any(os.path.realpath(fd) == path for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_they_come_with_the_first_domain_and_go_with_the_host(tiny: MakeConfig, others: list[int]) -> None:
    before = descriptors()
    with pyxen.connect() as host:
        assert worker_pids() == others
        for _ in range(3):
            host.create(tiny()).destroy()
        assert len(worker_pids()) == len(others) + 1
    assert worker_pids() == others
    assert descriptors() == before


def test_none(tiny: MakeConfig, others: list[int]) -> None:
    with pyxen.connect(workers=0) as host:
        host.create(tiny()).destroy()
        assert worker_pids() == others


@pytest.mark.parametrize("workers", [-1, 65])
def test_not_so_many(workers: int) -> None:
    with pytest.raises(InvalidArgument, match=f"workers={workers}"):
        pyxen.connect(workers=workers)


def test_both_at_work(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    host, pids = two
    spent = {pid: cpu_time(pid) for pid in pids}
    threads = [threading.Thread(target=lambda n=n: host.create(tiny(name=f"n{n}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread)
    assert all(cpu_time(pid) > spent[pid] for pid in pids)
    assert {f"n{n}" for n in range(8)} <= xl_domids().keys()
    for n in range(8):
        host.domains[f"n{n}"].destroy()


def cpu_time(pid: int) -> int:
    """Return the clock ticks that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_errors_say_what_libxl_said(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    with pytest.raises(FileMissing, match="/no/such/kernel") as caught:
        two[0].create(tiny(kernel="/no/such/kernel"))
    assert any("No such file or directory" in line for line in caught.value.log)


def test_a_deadline(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    host, pids = two
    with pytest.raises(OperationTimeout):
        host.create(tiny("hvm"), timeout=0.5)
    assert all(map(is_worker, pids))


def test_relative_paths_are_ours(
    two: tuple[Host, list[int]], tiny: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    assert config.kernel is not None
    monkeypatch.chdir(Path(config.kernel).parent)
    two[0].create(config.replace(kernel=Path(config.kernel).name)).destroy()


def test_one_is_killed_in_the_middle_of_a_create(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    host, pids = two
    operation = host._backend.create(tiny("hvm", name="half-made"), paused=False, timeout=None)
    wait_until(lambda: any(info.name == "half-made" for info in host.list()))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(OperationFailed, match="worker process"):
        operation.result(timeout=60)
    assert not any(info.name == "half-made" for info in host.list() if info.state != "dying")
    host.create(tiny(name="next")).destroy()


def test_all_are_killed_in_the_middle_of_destroys(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    host, pids = two
    domains = [host.create(tiny(name=f"n{n}")) for n in range(4)]
    operations = [host._backend.destroy(domain._ref, timeout=None) for domain in domains]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for operation in operations:
        operation.result(timeout=60)


def test_the_end_of_one_is_seen_though_its_device_model_lives(two: tuple[Host, list[int]], tiny: MakeConfig) -> None:
    host, pids = two
    domain = host.create(tiny("hvm"))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not set(pids) & set(children()))
    domain.destroy()


def test_we_are_killed_in_the_middle_of_a_create() -> None:
    program = """
import sys, pyxen
from pyxen import Disk, DomainConfig
with pyxen.connect() as host:
    for _ in range(3):
        host.create(DomainConfig("first", type="pvh", kernel="/usr/share/pyxen-guests/tiny-pvh", memory=8)).destroy()
    print("now", flush=True)
    disk = Disk("/usr/share/pyxen-guests/tiny-hvm.img", vdev="hda", readonly=False)
    host.create(DomainConfig("orphan", type="hvm", memory=32, disks=[disk], boot="c"))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    (worker,) = worker_pids(process.pid)
    with pyxen.connect(workers=0) as host:
        wait_until(lambda: any(info.name == "orphan" for info in host.list()))
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not is_worker(worker))
    wait_until(lambda: "orphan" not in xl_domids())


def test_killed_with_its_workers(host: Host) -> None:
    program = """
import pyxen
from pyxen import Disk, DomainConfig
with pyxen.connect(workers=0) as host:
    disk = Disk("/usr/share/pyxen-guests/tiny-hvm.img", vdev="hda", readonly=False)
    host.create(DomainConfig("orphan", type="hvm", memory=32, disks=[disk], boot="c"))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    wait_until(lambda: any(info.name == "orphan" for info in host.list()))
    assert host.orphans() == ()  # its process lives
    process.kill()
    process.wait()
    (orphan,) = host.orphans()
    assert orphan.info().name == "orphan"
    orphan.destroy()
    assert host.orphans() == ()
