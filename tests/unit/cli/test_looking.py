"""The commands that look."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from pyxen import DomainConfig, Vnc
from pyxen.cli.app import app
from pyxen.cli.options import seconds
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB, Run

Told = Callable[..., Any]
Done = Callable[..., str]


def test_list(done: Done) -> None:
    head, dom0, web = done("list").splitlines()
    assert head.split() == ["Name", "ID", "Mem", "VCPUs", "State", "Time(s)"]
    assert dom0.split()[:4] == ["Domain-0", "0", "512", "4"]
    assert web.split()[:2] == ["web1", "1"]


def test_list_of_some(done: Done, run: Run) -> None:
    assert len(done("list", "web1").splitlines()) == 2
    assert run("list", "nothing").exit_code == 3


def test_list_verbose(host: FakeHost, done: Done) -> None:
    head, _, web = done("list", "-v", "-c").splitlines()
    assert head.split()[-5:] == ["Type", "UUID", "Reason", "Label", "Cpupool"]
    assert str(host.domains["web1"].uuid) in web
    assert web.split()[-1] == "Pool-0"


def test_list_as_json(host: FakeHost, told: Told) -> None:
    listed = told("list")
    assert [each["name"] for each in listed] == ["Domain-0", "web1"]
    assert listed[1].keys() == host.domains["web1"].info().to_dict().keys()


def test_list_long(done: Done) -> None:
    listed = json.loads(done("list", "-l", "web1"))
    assert listed[0]["domid"] == 1
    assert listed[0]["config"]["c_info"]["name"] == "web1"


def test_info(told: Told, done: Done) -> None:
    shown = dict(line.split(":", 1) for line in done("info").splitlines())
    figures = {name.strip(): value.strip() for name, value in shown.items()}
    assert (figures["total_memory"], figures["nr_cpus"], figures["xen_minor"]) == ("4096", "4", "20")
    assert told("info")["memory_kib"] == 4096 * 1024


def test_info_with_numa(told: Told, done: Done) -> None:
    assert len(told("info", "-n")["topology"]["cpus"]) == 4
    assert "distances" in done("info", "-n")


def test_uptime(told: Told, done: Done) -> None:
    assert told("uptime", "web1")[0]["uptime_s"] >= 60
    assert done("uptime").splitlines()[2].split()[:2] == ["web1", "1"]


def test_claims(told: Told, done: Done) -> None:
    assert told("claims")[1]["claimed_kib"] == 0
    assert done("claims").splitlines()[0].split()[-1] == "Claimed"


def test_who_a_domain_is(host: FakeHost, done: Done, told: Told) -> None:
    uuid = host.domains["web1"].uuid
    assert done("domid", "web1") == "1\n"
    assert done("domname", "1") == "web1\n"
    assert told("domname", str(uuid)) == {"domid": 1, "name": "web1", "uuid": str(uuid)}


def test_endpoints(done: Done, told: Told) -> None:
    assert "console" in done("endpoints", "web1")
    assert told("endpoints", "web1")["vnc"] is None


def test_vncviewer(host: FakeHost, done: Done, run: Run) -> None:
    assert run("vncviewer", "web1").exit_code == 3
    host.create(DomainConfig("hvm1", type="hvm", memory=64, vnc=Vnc(enable=True)))
    assert done("vncviewer", "--address", "hvm1") == "127.0.0.1::5900\n"


@pytest.mark.parametrize("to", ["xl", "json", "libvirt-xml", "python"])
def test_config_show(done: Done, to: str) -> None:
    assert "web1" in done("config", "show", "web1", "--to", to)


def test_config_show_as_json(done: Done) -> None:
    assert json.loads(done("config", "show", "web1", "--json"))["c_info"]["name"] == "web1"


def test_config_diff_and_apply(host: FakeHost, run: Run, done: Done, tmp_path: Any) -> None:
    file = tmp_path / "web1.cfg"
    file.write_text(done("config", "show", "web1"))
    assert done("config", "diff", str(file)) == ""
    result = run("config", "diff", str(file), "memory=256")
    assert (result.exit_code, result.stdout) == (1, "memory: 512 -> 256\n")
    found = json.loads(run("config", "diff", str(file), "memory=256", "--json").stdout)
    assert found["settings"] == [{"path": "memory", "before": 512, "after": 256}]
    assert done("config", "apply", "-n", str(file), "memory=256") == "set_memory 256\n"
    assert host.domains["web1"].config().memory == 512
    applied = json.loads(done("config", "apply", str(file), "memory=256", "--json"))
    assert applied["changed"] == [{"verb": "set_memory", "value": "256"}]
    assert host.domains["web1"].config().memory == 256


def test_apply_creates(host: FakeHost, done: Done, config: Any) -> None:
    assert done("config", "apply", "-n", str(config)) == "would be created\n"
    assert done("config", "apply", str(config)) == "created\n"
    assert "web2" in host.domains


def test_apply_says_what_needs_a_restart(run: Run, done: Done, tmp_path: Any) -> None:
    file = tmp_path / "web1.cfg"
    file.write_text(done("config", "show", "web1"))
    result = run("config", "apply", str(file), 'kernel="/other"')
    assert result.exit_code == 0
    assert "needs a restart: kernel" in result.stderr


def test_a_name_cannot_turn_the_terminal_round(host: FakeHost, done: Done) -> None:
    host.create(WEB.replace(name="a\u202eb", uuid=UUID(int=5), disks=(), vifs=()))
    assert "a\\u202eb" in done("list")
    assert done("domname", "2") == "a\\u202eb\n"


@pytest.fixture
def real() -> Iterator[None]:
    """A host whose time passes, with a guest."""
    with FakeHost(time="real") as host, host.standing_in():
        host.create(WEB)
        yield


@pytest.mark.usefixtures("real")
def test_top_once() -> None:
    result = CliRunner().invoke(app, ["top", "--once", "-d", "0.01", "--json"])
    assert {"cpu_percent", "stats", "seconds"} <= json.loads(result.stdout)[0].keys()
    result = CliRunner().invoke(app, ["top", "--once", "-d", "0.01", "--sort", "name"])
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["Name", "Domain-0", "web1"]


def test_top_for_programs_has_a_line_a_sample(done: Done) -> None:
    documents = [json.loads(line) for line in done("top", "-i", "2", "-d", "0.01", "--json").splitlines()]
    assert len(documents) == 2


def test_one_figure_of_the_host(host: FakeHost, done: Callable[..., str], run: Run) -> None:
    assert done("info", "nr_cpus") == f"{host.info().nr_cpus}\n"
    assert done("info", "free_memory") == f"{host.info().free_memory_kib // 1024}\n"
    result = run("info", "free_memoyr")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "free_memory" in result.stderr
    assert run("info", "nr_cpus", "--json").exit_code == 2
    assert run("info", "nr_cpus", "-n").exit_code == 2


@pytest.mark.parametrize("command", ["top --once -d nan", "events --timeout nan", "xenstore watch / --timeout nan"])
def test_nan_is_no_number_of_seconds(run: Run, command: str) -> None:
    result = run(*command.split())
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (2, True)
    with pytest.raises(typer.BadParameter, match="nan is not a number of seconds"):  # click refuses it by itself
        seconds(math.nan)
