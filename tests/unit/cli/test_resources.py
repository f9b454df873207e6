"""The commands for memory, vCPUs, schedulers and CPU pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import CpuSet
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

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
