"""The commands that few hosts need: security policy, shares of caches, Remus, and xl's rarer ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import (
    DeviceTree,
    Domain,
    DomainConfig,
    PsrAllocation,
    PsrEvent,
    PsrKind,
    PsrMonitoring,
    PsrSample,
    RemusOptions,
)
from pyxen.begin import DomainOperations
from pyxen.errors import InvalidState
from pyxen.host import Host
from pyxen.operation import Operation
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

Told = Callable[..., Any]
Done = Callable[..., str]


def test_the_security_policy(host: FakeHost, done: Done, told: Told, run: Run) -> None:
    assert run("getenforce").exit_code == 5
    host.enable_flask({0: "system_u:system_r:dom0_t", 1: "system_u:system_r:domU_t"})
    assert done("getenforce") in {"Enforcing\n", "Permissive\n"}
    assert told("setenforce", "Permissive") == {"enforcing": False}
    assert done("getenforce") == "Permissive\n"
    assert done("setenforce", "1") == ""
    assert told("getenforce") == {"enforcing": True}
    assert run("setenforce", "maybe").exit_code == 2
    assert run("loadpolicy", "/nonexistent").exit_code == 3


def test_labels_in_words(host: FakeHost, done: Done, told: Told) -> None:
    assert done("list", "-Z").splitlines()[1].split()[-1] == "-"  # without Flask, as xl has it
    assert told("list", "-Z")[1]["label"] is None
    host.enable_flask({info.ssidref: "system_u:system_r:domU_t" for info in host.list()})
    assert done("list", "-Z").splitlines()[1].split()[-1] == "system_u:system_r:domU_t"
    assert told("list", "-Z")[1]["label"] == "system_u:system_r:domU_t"


def test_nodes_that_memory_comes_from(host: FakeHost, done: Done, told: Told) -> None:
    nodes = list(host.domains["web1"].node_affinity())
    assert done("list", "-n").splitlines()[0].endswith("NODE Affinity")
    assert done("list", "-n", "web1").splitlines()[1].split()[-1] == ",".join(map(str, nodes))
    assert told("list", "--numa", "web1")[0]["nodes"] == nodes


def test_uuids_and_shared_memory(host: FakeHost, done: Done, told: Told) -> None:
    uuid = str(host.domains["web1"].uuid)
    assert done("vm-list").splitlines()[1:] == [f"{uuid}   1  web1"]
    assert [each["uuid"] for each in told("vm-list")] == [uuid]
    assert done("sharing", "web1").splitlines()[1].split() == ["web1", "1", "512", "0"]
    assert [each["shared_kib"] for each in told("sharing")] == [0, 0]


def test_uuids_are_those_of_guests(host: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    host.create(DomainConfig("web2", type="pvh", kernel="/boot/vmlinuz", memory=64))
    backend = type(host.domains._backend)  # what all lists come from
    real = backend.list
    monkeypatch.setattr(
        backend,
        "list",
        lambda self: [dataclasses.replace(info, stubdomain_of=2) if info.domid == 1 else info for info in real(self)],
    )
    assert [each["name"] for each in told("vm-list")] == ["web2"]


def test_a_button(done: Done, run: Run) -> None:
    assert done("button-press", "web1", "power") == ""
    assert run("button-press", "web1", "reset").exit_code == 2


def test_a_configuration_for_the_next_start(host: FakeHost, told: Told, config: Path) -> None:
    web = host.domains["web1"]
    assert told("config-update", "web1", str(config), 'name="web1"', "memory=128")["name"] == "web1"
    assert web.config().memory == 512
    assert b"128" in (web.userdata("xl") or b"")


def test_a_domid_that_is_kept(host: FakeHost, done: Done, tmp_path: Path, config: Path) -> None:
    done("save", "-D", "web1", str(tmp_path / "web1.save"))
    done("create", str(config))
    done("create", str(config), 'name="web3"')
    host.advance(120)  # libxl takes no domid that was in use a minute ago
    assert done("restore", str(tmp_path / "web1.save")) == "web1 has domid 1\n"
    assert host.domains["web1"].domid == 1


@pytest.mark.parametrize(
    ("arguments", "to", "options"),
    [
        (["host2"], "host2", RemusOptions()),
        (["host2", "-i", "500", "-N", "/script"], "host2", RemusOptions(interval=0.5, netbufscript="/script")),
        (["-b", "-F", "-n", "-d"], None, RemusOptions(netbuf=False, diskbuf=False, allow_unsafe=True)),
        (["host2", "-s", "ssh -p 1"], ["/bin/sh", "-c", "exec ssh -p 1 host2 xl migrate-receive -r"], RemusOptions()),
        (["nc host2", "-s", ""], ["/bin/sh", "-c", "nc host2"], RemusOptions()),
    ],
)
@pytest.mark.usefixtures("host")
def test_remus(run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], to: Any, options: RemusOptions) -> None:
    asked: list[tuple[Any, ...]] = []

    def remus(_domain: Any, *arguments: Any, timeout: float | None = None) -> Operation[None]:
        asked.append((*arguments, timeout))
        operation: Operation[None] = Operation("remus")
        operation.set_result(None)
        return operation

    monkeypatch.setattr(DomainOperations, "remus", remus)
    assert run("remus", "web1", *arguments).exit_code == 0
    assert asked == [(to, options, None)]


def test_what_remus_refuses(run: Run) -> None:
    assert run("remus", "web1").exit_code == 2
    assert run("remus", "web1", "host2", "-b").exit_code == 2
    result = run("remus", "web1", "host2", "-n")
    assert (result.exit_code, "allow_unsafe" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["add", "/fpga.dtbo"], ("add", "/fpga.dtbo")),
        (["remove", "/fpga.dtbo"], ("remove", "/fpga.dtbo")),
        (["attach", "/fpga.dtbo", "web1"], ("attach", "web1", "/fpga.dtbo")),
    ],
)
@pytest.mark.usefixtures("host")
def test_overlays(told: Told, monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: tuple[str, ...]) -> None:
    calls: list[tuple[Any, ...]] = []

    def call(verb: str) -> Callable[..., None]:
        return lambda _tree, *given: calls.append((verb, *(getattr(one, "name", one) for one in given)))

    for verb in ("add", "remove", "attach"):
        monkeypatch.setattr(DeviceTree, verb, call(verb))
    assert told("dt-overlay", *arguments) == {"file": "/fpga.dtbo"}
    assert calls == [asked]


def test_what_is_no_overlay(run: Run, tmp_path: Path) -> None:
    assert run("dt-overlay", "attach", "/fpga.dtbo").exit_code == 2
    assert run("dt-overlay", "add", "/fpga.dtbo", "web1").exit_code == 2
    assert run("dt-overlay", "apply", "/fpga.dtbo").exit_code == 2
    (tmp_path / "fpga.dtbo").write_bytes(b"overlay")
    result = run("dt-overlay", "add", str(tmp_path / "fpga.dtbo"))
    assert (result.exit_code, "device_tree: memory cannot do this" in result.stderr) == (5, True)


class Psr:
    """CPUs of two sockets that can share out everything."""

    def __init__(self) -> None:
        self.attached: set[str | None] = set()
        self.settings: list[tuple[Any, ...]] = []

    def monitoring(self) -> PsrMonitoring:
        return PsrMonitoring(True, 8, tuple(PsrEvent))

    def allocations(self) -> tuple[PsrAllocation, ...]:
        return (
            PsrAllocation(PsrKind.L3, 0, 7, 11, False, None, None),
            PsrAllocation(PsrKind.MBA, 0, 7, None, None, 90, True),
        )

    def attach(self, domain: Domain) -> None:
        self.attached.add(domain.name)

    def detach(self, domain: Domain) -> None:
        if domain.name not in self.attached:
            raise InvalidState("it is not measured")
        self.attached.discard(domain.name)

    def sample(self, domain: Domain, _event: PsrEvent, *, socket: int) -> PsrSample:
        if domain.name not in self.attached:
            raise InvalidState("it is not measured")
        return PsrSample(4096 * (socket + 1), 7)

    def get(self, _domain: Domain, _kind: PsrKind, *, socket: int) -> int:
        return 0xFF >> socket

    def set(self, domain: Domain, *arguments: Any, sockets: Any) -> None:
        self.settings.append((domain.name, *arguments, sockets))


@pytest.fixture
def psr(monkeypatch: pytest.MonkeyPatch, host: FakeHost) -> Psr:  # noqa: ARG001 (it stands in for every host)
    """What a host without such CPUs cannot do."""
    made = Psr()
    original = Host.__init__

    def opened(self: Host, backend: Any) -> None:
        original(self, backend)
        self.psr = made  # type: ignore[assignment]  # it stands in

    monkeypatch.setattr(Host, "__init__", opened)
    return made


def test_measuring(psr: Psr, done: Done, told: Told, run: Run) -> None:
    assert run("psr-cmt-detach", "web1").exit_code == 1
    told("psr-cmt-attach", "web1")
    shown = done("psr-cmt-show", "cache-occupancy").splitlines()
    assert [line.split() for line in shown[1:]] == [["web1", "1", "4096"]]  # dom0 is not measured
    assert run("psr-cmt-show", "cache-occupancy", "0").exit_code == 1
    assert told("psr-cmt-show", "total-mem-bandwidth", "web1")[0]["sockets"] == [{"value": 4096, "tsc": 7}]
    assert run("psr-cmt-show", "everything").exit_code == 2
    told("psr-cmt-detach", "web1")
    assert psr.attached == set()


def test_what_the_cpus_can_do(psr: Psr, done: Done, told: Told) -> None:
    assert psr.monitoring().enabled
    assert "enabled" in done("psr-hwinfo")
    assert "cache-occupancy" in done("psr-hwinfo", "-m")
    assert [each["kind"] for each in told("psr-hwinfo", "-b")["allocations"]] == ["mba"]
    assert done("psr-hwinfo", "-a").splitlines()[1].split()[:2] == ["l3", "0"]


def test_shares(psr: Psr, done: Done, told: Told, run: Run) -> None:
    assert done("psr-cat-show").splitlines()[2].split() == ["web1", "1", "l3", "0xff"]
    assert told("psr-mba-show", "web1")[0]["kinds"] == {"mba": [255]}
    done("psr-cat-set", "web1", "0xf0")
    done("psr-cat-set", "-l", "2", "-s", "0-1", "web1", "3")
    done("psr-cat-set", "-c", "web1", "7")
    done("psr-cat-set", "-d", "web1", "7")
    done("psr-cat-set", "-c", "-d", "web1", "7")
    done("psr-mba-set", "web1", "10")
    assert psr.settings == [
        ("web1", PsrKind.L3, 0xF0, None),
        ("web1", PsrKind.L2, 3, [0, 1]),
        ("web1", PsrKind.L3_CODE, 7, None),
        ("web1", PsrKind.L3_DATA, 7, None),
        ("web1", PsrKind.L3, 7, None),
        ("web1", PsrKind.MBA, 10, None),
    ]
    assert run("psr-cat-set", "web1", "many").exit_code == 2
    assert run("psr-cat-set", "-l", "2", "-c", "web1", "1").exit_code == 2


@pytest.mark.usefixtures("host")
def test_cpus_that_share_nothing_out(run: Run) -> None:
    assert run("psr-hwinfo").exit_code == 5
