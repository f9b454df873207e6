"""The commands for memory, vCPUs, schedulers and CPU pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import CpuSet, Scheduler
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB, Run

Told = Callable[..., Any]
Done = Callable[..., str]


@pytest.mark.parametrize(("text", "mib"), [("256", 256), ("256m", 256), ("1G", 1024), ("262144k", 256)])
def test_memory(host: FakeHost, done: Done, text: str, mib: int) -> None:
    done("mem-set", "web1", text)
    assert host.domains["web1"].config().memory == mib


def test_most_memory(host: FakeHost, done: Done) -> None:
    done("mem-max", "web1", "768")
    assert host.domains["web1"].config().maxmem == 768


@pytest.mark.parametrize("text", ["lots", "1.5", "-1", "12x", "1b", "2g", ""])
def test_what_is_no_memory_for_it(run: Run, text: str) -> None:
    result = run("mem-set", "web1", "--", text)
    assert result.exit_code in (1, 2)
    assert "error" in result.stderr.lower()
    assert "Traceback" not in result.stderr


def test_vcpus(host: FakeHost, done: Done, told: Told) -> None:
    done("vcpu-pin", "web1", "0", "2-3", "1")
    done("vcpu-set", "web1", "2")
    host.advance(10)
    head, first, _ = done("vcpu-list", "web1").splitlines()
    assert head.split()[:4] == ["Name", "ID", "VCPU", "CPU"]
    assert first.endswith("2-3 / 1")
    listed = told("vcpu-list")
    assert [each["domid"] for each in listed] == [0, 1]
    assert [vcpu["cpus"] for vcpu in listed[1]["vcpus"]] == ["2-3", "0-3"]
    done("vcpu-pin", "web1", "all", "-", "0-1")
    assert host.domains["web1"].vcpus()[1].cpus_soft == CpuSet("0-1")


@pytest.mark.parametrize(
    "arguments", [["0", "abc"], ["first", "0"], ["9", "0"], ["0", "77"], ["0", "-"], ["0", "0,", "x"]]
)
def test_what_cannot_be_pinned(run: Run, arguments: list[str]) -> None:
    result = run("vcpu-pin", "web1", *arguments)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr
    assert result.stderr


def test_shares(host: FakeHost, done: Done, told: Told) -> None:
    done("sched-credit2", "-d", "web1", "-w", "512", "-c", "50")
    assert host.domains["web1"].scheduler().weight == 512
    assert told("sched-credit2", "-d", "web1") == [{"domid": 1, "name": "web1", "weight": 512, "cap": 50}]
    (pool,) = told("sched-credit2")
    assert (pool["pool"], [each["weight"] for each in pool["domains"]]) == (0, [256, 512])
    lines = done("sched-credit2").splitlines()
    assert lines[0].startswith("Cpupool Pool-0: ratelimit_us=1000")
    assert lines[3].split() == ["web1", "1", "512", "50"]
    assert told("sched-credit") == []


def test_parameters_of_a_pool(host: FakeHost, done: Done) -> None:
    done("sched-credit2", "-s", "-r", "2000")
    assert host.cpupools[0].scheduler().ratelimit_us == 2000
    assert "ratelimit_us=2000" in done("sched-credit2", "-s", "-p", "Pool-0")


def test_vcpus_with_rtds(host: FakeHost, done: Done, told: Told) -> None:
    host.cpupools[0].remove_cpus("3")
    host.cpupools.create("real", cpus="3", scheduler="rtds")
    done("cpupool-migrate", "web1", "real")
    done("sched-rtds", "-d", "web1", "-v", "0", "-p", "5000", "-b", "1000")
    assert told("sched-rtds", "-d", "web1", "-v", "0")[0]["budget"] == 1000
    assert told("sched-rtds", "-d", "web1", "-v", "1")[0]["budget"] == 4000


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["sched-credit", "-d", "web1"], 1),
        (["sched-credit2", "-w", "5"], 2),
        (["sched-credit2", "-r", "5"], 2),
        (["sched-credit2", "-s", "-d", "web1"], 2),
        (["sched-credit2", "-d", "web1", "-w", "99999999"], 1),
        (["sched-credit2", "-p", "nothing"], 3),
        (["sched-rtds", "-d", "web1", "-v", "x"], 2),
    ],
)
def test_shares_that_are_refused(run: Run, arguments: list[str], status: int) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")


def test_pools(host: FakeHost, done: Done, told: Told, tmp_path: Path) -> None:
    done("cpupool-cpu-remove", "Pool-0", "2-3")
    file = tmp_path / "pool.cfg"
    file.write_text('name = "batch"\nsched = "credit"\n')
    assert told("cpupool-create", "-n", str(file), 'cpus="2-3"')["cpus"] == "2-3"
    assert told("cpupool-create", str(file), 'cpus="2-3"')["scheduler"] == "credit"
    assert done("cpupool-list").splitlines()[2].split() == ["batch", "1", "2", "credit", "0"]
    assert done("cpupool-list", "-c", "batch").splitlines()[1].split() == ["batch", "2-3"]
    done("cpupool-rename", "batch", "night")
    assert told("cpupool-migrate", "web1", "night")["name"] == "web1"
    assert [each["domains"] for each in told("cpupool-list")] == [[0], [1]]
    done("cpupool-migrate", "web1", "0")
    done("cpupool-destroy", "1")
    done("cpupool-cpu-add", "Pool-0", "2-3")
    assert [info.cpus for info in host.cpupools.list()] == [CpuSet("0-3")]


def test_pools_of_nodes(run: Run, done: Done) -> None:
    with FakeHost(nodes=2) as host, host.standing_in():
        done("cpupool-numa-split")
        assert [info.name for info in host.cpupools.list()] == ["Pool-node0", "Pool-node1"]
        assert run("cpupool-numa-split").exit_code == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['cpus="1"'], "needs a name"),
        (['name="a"', "sched=5"], "sched=5 is not one of"),
        (['name="a"', "color=5"], "color is not a setting"),
        (['name="a"', 'cpus="1"', 'nodes="1"'], "not both"),
        (['name="a"', 'cpus="x"'], "'x'"),
        (["/nonexistent"], "No such file"),
        (['name="'], ""),
    ],
)
def test_pools_that_cannot_be(host: FakeHost, run: Run, settings: list[str], said: str) -> None:
    result = run("cpupool-create", *settings)
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert len(host.cpupools) == 1
    assert json.loads(run("cpupool-list", "--json").stdout)


@pytest.fixture
def real(host: FakeHost, done: Done) -> FakeHost:
    """The host with web1 in a pool whose scheduler is rtds."""
    host.cpupools[0].remove_cpus("3")
    host.cpupools.create("real", cpus="3", scheduler="rtds")
    done("cpupool-migrate", "web1", "real")
    return host


FIRST = ["-v", "0", "-p", "20000", "-b", "5000", "-e", "1"]
SECOND = ["-v", "1", "-p", "30000", "-b", "15000", "-e", "0"]


def test_no_vcpu_is_set_if_one_is_missing(real: FakeHost, run: Run) -> None:
    before = real.domains["web1"].scheduler(vcpu=0)
    result = run("sched-rtds", "-d", "web1", *FIRST, "-v", "7", "-p", "30000", "-b", "6000", "-e", "0")
    assert (result.exit_code, "no vCPU 7" in result.stderr) == (1, True)
    assert real.domains["web1"].scheduler(vcpu=0) == before


def test_several_vcpus_at_once(real: FakeHost, done: Done, told: Told) -> None:
    done("sched-rtds", "-d", "web1", *FIRST, *SECOND)
    web = real.domains["web1"]
    shares = [web.scheduler(vcpu=number) for number in (0, 1)]
    assert [(one.period, one.budget, one.extratime) for one in shares] == [(20000, 5000, True), (30000, 15000, False)]
    rows = [
        {"domid": 1, "name": "web1", "vcpu": 0, "period": 20000, "budget": 5000, "extratime": True},
        {"domid": 1, "name": "web1", "vcpu": 1, "period": 30000, "budget": 15000, "extratime": False},
    ]
    assert told("sched-rtds", "-d", "web1", "-v", "all") == told("sched-rtds", "-d", "web1", "-v", "0", "-v", "1")
    assert told("sched-rtds", "-d", "web1", "-v", "all") == rows
    assert told("sched-rtds", "-d", "web1", "-v", "1") == rows[1:]
    (pool,) = told("sched-rtds", "-v", "all")
    assert (pool["pool"], pool["domains"]) == (1, rows)
    table = [line.split() for line in done("sched-rtds", "-v", "all").splitlines()]
    assert table[1:] == [
        ["Name", "ID", "VCPU", "Period", "Budget", "Extratime"],
        ["web1", "1", "0", "20000", "5000", "1"],
        ["web1", "1", "1", "30000", "15000", "0"],
    ]
    assert told("sched-rtds", "-d", "web1")[0].keys() == {"domid", "name", "period", "budget", "extratime"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-d", "web1", *FIRST, "-v", "1"],
        ["-d", "web1", *FIRST, "-p", "1000"],
        ["-d", "web1", "-v", "all", "-v", "0", "-p", "20000"],
        ["-d", "web1", "-v", "all", "-p", "20000", "-p", "30000"],
        ["-d", "web1", "-p", "20000", "-p", "30000"],
        FIRST,
        ["-v", "0"],
        ["-v", "all", "-b", "1000"],
        ["-d", "web1", "-c", "real"],
        ["-v", "all", "-c", "real"],
        ["-p", "20000", "-c", "real"],
        ["-d", "web1", *FIRST, "-e", "2"],
    ],
)
def test_shares_of_vcpus_that_are_refused(real: FakeHost, run: Run, arguments: list[str]) -> None:
    before = real.domains["web1"].scheduler(vcpu=0)
    result = run("sched-rtds", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert real.domains["web1"].scheduler(vcpu=0) == before


@pytest.mark.parametrize("command", ["sched-credit", "sched-credit2"])
@pytest.mark.parametrize("arguments", [["-d", "web1", "-w", "512"], ["-d", "web1"], ["-w", "512"]])
def test_a_domain_and_a_pool_do_not_go_together(host: FakeHost, run: Run, command: str, arguments: list[str]) -> None:
    for pool in ("nosuchpool", "0"):
        result = run(command, *arguments, "-p", pool)
        assert (result.exit_code, result.stdout) == (2, "")
    assert host.domains["web1"].scheduler().weight == 256


def test_the_pool_whose_parameters_are_meant(host: FakeHost, done: Done, told: Told, run: Run) -> None:
    host.cpupools[0].remove_cpus("2-3")
    host.cpupools.create("more", cpus="3", scheduler="credit2")
    host.cpupools.create("real", cpus="2", scheduler="rtds")
    assert [each["pool"] for each in told("sched-credit2", "-s")] == [0]
    done("sched-credit2", "-s", "-r", "2000")
    assert [each["parameters"]["ratelimit_us"] for each in told("sched-credit2", "-s")] == [2000]
    assert [each["pool"] for each in told("sched-credit2", "-s", "-p", "more")] == [1]
    for pool in ("real", "0"):
        result = run("sched-credit", "-s", "-p", pool)
        assert (result.exit_code, "has the scheduler" in result.stderr) == (1, True)


def test_a_pool_that_would_be_made(host: FakeHost, done: Done, told: Told, run: Run, tmp_path: Path) -> None:
    host.cpupools[0].remove_cpus("2-3")
    file = tmp_path / "batch"
    file.write_text('cpus = "2-3"\n')
    shown = [line.split(":") for line in done("cpupool-create", "-n", str(file)).splitlines()]
    assert [(what, value.strip()) for what, value in shown] == [
        ("cpupool name", "batch"),
        ("scheduler", host.info().xen_scheduler),
        ("number of cpus", "2"),
    ]
    assert told("cpupool-create", "-n", 'sched="rtds"', str(file)) == {
        "name": "batch",
        "cpus": "2-3",
        "scheduler": "rtds",
    }
    assert run("cpupool-create", str(file), str(file)).exit_code == 2
    assert len(host.cpupools) == 1
    assert told("cpupool-create", 'sched="rtds"', str(file))["name"] == "batch"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (['name="zz"', 'cpus="0-99"'], "99"),
        (['name="zz"', 'cpus="0"'], "0"),
        (['name="zz"', 'nodes="7"'], "7"),
        (['name="Pool-0"'], "Pool-0"),
    ],
)
def test_a_pool_that_cannot_be_made_is_refused_by_the_dry_run_too(
    host: FakeHost, run: Run, settings: list[str], said: str
) -> None:
    host.cpupools[0].remove_cpus("2-3")
    for dry in ([], ["-n"]):
        result = run("cpupool-create", *dry, *settings)
        assert (result.exit_code, result.stdout) in {(1, ""), (2, ""), (3, "")}
        assert said in result.stderr
    assert len(host.cpupools) == 1


@pytest.fixture
def pooled(host: FakeHost) -> FakeHost:
    """The host with web1 in a pool whose scheduler is null, and an empty one whose scheduler is rtds."""
    host.cpupools[0].remove_cpus("2-3")
    host.cpupools.create("still", cpus="3", scheduler="null")
    host.cpupools.create("real", cpus="2", scheduler="rtds")
    host.domains["web1"].set_cpupool("still")
    return host


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-d web1", "the CPU pool of web1 (domid 1) has the scheduler null, which has no parameters of domains"),
        ("-s -p still", "the CPU pool still has the scheduler null, which has no parameters of CPU pools"),
        ("-s -p real", "the CPU pool real has the scheduler rtds, which has no parameters of CPU pools"),
        ("-s -p 0", "the CPU pool Pool-0 has the scheduler credit2: use sched-credit2"),
        ("-d 0", "the CPU pool of Domain-0 (domid 0) has the scheduler credit2: use sched-credit2"),
    ],
)
@pytest.mark.usefixtures("pooled")
def test_another_command_is_named_only_where_there_is_one(run: Run, arguments: str, said: str) -> None:
    result = run("sched-credit", *arguments.split())
    assert (result.exit_code, result.stderr) == (1, f"error: {said}\n")


@pytest.mark.parametrize(
    ("by_vcpu", "reads"), [([], 0), (["-v", "all"], 0), (["-v", "all"], 1)], ids=["domain", "vcpus", "second vcpu"]
)
def test_a_domain_that_is_moved_while_pools_are_shown(
    pooled: FakeHost, told: Told, done: Done, monkeypatch: pytest.MonkeyPatch, by_vcpu: list[str], reads: int
) -> None:
    web = pooled.domains["web1"]
    pooled.create(WEB.replace(name="web2", disks=[], vifs=[])).set_cpupool("real")
    real = type(web).scheduler
    seen: list[int | None] = []

    def scheduler(self: Any, *, vcpu: int | None = None) -> Any:
        if self.domid == web.domid:
            if len(seen) == reads:
                web.set_cpupool("still")
            seen.append(vcpu)
        return real(self, vcpu=vcpu)

    for show in (told, done):
        web.set_cpupool("real")
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(type(web), "scheduler", scheduler)
            shown = str(show("sched-rtds", *by_vcpu))
        assert ("web1" in shown, "web2" in shown) == (False, True)


def test_a_pool_that_is_destroyed_while_pools_are_shown(
    pooled: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = pooled.cpupools.list()
    pooled.cpupools["real"].destroy()
    monkeypatch.setattr(type(pooled.cpupools), "list", lambda _: listed)
    assert told("sched-rtds") == []


@pytest.mark.parametrize(
    "second",
    [
        ["-p", "30000", "-b", "90000", "-e", "0"],
        ["-p", "5", "-b", "5", "-e", "0"],
    ],
)
def test_no_vcpu_is_set_if_a_share_does_not_fit(real: FakeHost, run: Run, second: list[str]) -> None:
    web = real.domains["web1"]
    before = [web.scheduler(vcpu=number) for number in (0, 1)]
    result = run("sched-rtds", "-d", "web1", *FIRST, "-v", "1", *second)
    assert (result.exit_code, "vCPU 1: " in result.stderr) == (1, True), result.stderr
    assert [web.scheduler(vcpu=number) for number in (0, 1)] == before


def test_what_is_left_out_of_a_share_counts_when_it_is_checked(real: FakeHost, run: Run) -> None:
    web = real.domains["web1"]
    web.set_scheduler(Scheduler(period=50000), vcpu=0)
    result = run("sched-rtds", "-d", "web1", "-v", "0", "-b", "40000", "-v", "1", "-b", "40000")
    assert (result.exit_code, "vCPU 1: budget=40000 is longer than period=10000" in result.stderr) == (1, True)
    assert web.scheduler(vcpu=0).budget == 4000
    done = run("sched-rtds", "-d", "web1", "-v", "0", "-b", "5000", "-v", "0", "-b", "40000")  # the last one counts
    assert (done.exit_code, web.scheduler(vcpu=0).budget) == (0, 40000)
