"""What guests, typing errors and scripts may do to the command, tried on all commands."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

import pyxen.cli.app as application
from pyxen import Channel, ChannelConnection, Disk, DomainConfig, Vif
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB, Run

Done = Callable[..., str]

EVIL = "\x1b]0;owned\x07\x9b2J\u202e"

EVERY = {name: command for commands in application.COMMANDS.values() for name, command in commands.items()} | {
    f"{group} {name}": command
    for group, (_, commands) in application.GROUPS.items()
    for name, command in commands.items()
}

LOOKING = [
    "list",
    "list -v -c",
    "list -l",
    "info",
    "info -n",
    "uptime",
    "claims",
    "sharing",
    "vm-list",
    "domname 2",
    "domid 2",
    "endpoints 2",
    "vcpu-list",
    "block-list 2",
    "block-list -v 2",
    "network-list 2",
    "network-list -v 2",
    "channel-list 2",
    "vkb-list 2",
    "usb-list",
    "usb-list 2",
    "pci-list 2",
    "pci-assignable-list -a",
    "sched-credit2",
    "cpupool-list",
    "cpupool-list -c",
    "top --once -d 0.01",
    "dmesg",
    "xenstore ls",
    "xenstore ls -f -p /local/domain/2",
    "xenstore read /local/domain/2/data/evil",
    "config show 2",
    "create -n {evil}",
    "config diff -d 2 {config}",
]


@pytest.fixture
def evil(host: FakeHost) -> FakeHost:
    """A host with a guest that says whatever controls a terminal, wherever it can."""
    made = DomainConfig(
        "evil\u202e",
        type="pvh",
        kernel="/k",
        memory=64,
        uuid=UUID(int=7),
        disks=[Disk("/dev/vg0/a\u202eb", vdev="xvda")],
        vifs=[Vif(bridge="br\u202e", mac="00:16:3e:01:02:09")],
        channels=[Channel("ch\u202e", connection=ChannelConnection.PTY)],
    )
    host.create(made)
    host.advance(60)
    for node in ("data/evil", "device/vif/0/error", "name"):
        host.xenstore.write(f"/local/domain/2/{node}", EVIL.encode())
    host.write_log(f"(d2) {EVIL}\n")
    return host


def controls(text: str) -> set[str]:
    """Return the characters of a text that control a terminal, or turn text round."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char not in "\n\t"}


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("line", LOOKING)
def test_what_a_guest_says_controls_no_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, config: Path, line: str
) -> None:
    if line.startswith("config"):  # as a person sees it; tables have colours then
        monkeypatch.setattr("pyxen.cli.output.is_terminal", lambda: True)
    evil = config.with_name("evil.cfg")
    evil.write_text(config.read_text() + f'seclabel = "{EVIL}"\n')
    words = line.format(config=config, evil=evil).split()
    plain, machine = run(*words), run(*words, "--json")
    assert plain.exit_code == machine.exit_code == (1 if "diff" in line else 0), plain.stderr + machine.stderr
    for result in (plain, machine):
        assert controls(result.stdout + result.stderr) == set()
    json.loads(machine.stdout)


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize(
    "words",
    [
        ["pause", f"{EVIL}x"],
        ["block-detach", "2", EVIL],
        ["xenstore", "read", f"/{EVIL}"],
        ["cpupool-destroy", EVIL],
        ["network-attach", "2", EVIL],
        ["create", EVIL],
        ["mem-set", "2", EVIL],
        ["pci-attach", "2", EVIL],
        ["destroy", "2"],
        ["xenstore", "rm", f"/{EVIL}"],
        ["autostart", "disable", EVIL],
    ],
)
def test_messages_control_no_terminal(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code != 0
    assert result.stderr
    assert controls(result.stdout + result.stderr) == set(), result.stderr


ASKING = {
    "destroy": ["web1"],
    "shutdown": ["--all"],
    "reboot": ["--all"],
    "trigger": ["web1", "reset"],
    "sysrq": ["web1", "b"],
    "debug-keys": ["R"],
    "block-detach": ["--force", "web1", "xvda"],
    "network-detach": ["--force", "web1", "0"],
    "pci-detach": ["--force", "web1", "03:00.0"],
    "usbctrl-detach": ["--force", "web1", "0"],
    "vtpm-detach": ["--force", "web1", "0"],
    "vkb-detach": ["--force", "web1", "0"],
    "vdispl-detach": ["--force", "web1", "0"],
    "vsnd-detach": ["--force", "web1", "0"],
    "9pfs-detach": ["--force", "web1", "0"],
    "xenstore rm": ["/local/domain/1"],
    "autostart stop": [],
}
"""The commands that ask, each with arguments for which it does."""

OF_LVM = {"volume remove", "volume resize"}
"""Those that ask about volumes, which a host in memory does not have."""


def test_every_command_that_asks_is_tried() -> None:
    asking = {name for name, command in EVERY.items() if "yes" in inspect.signature(command).parameters}
    assert asking == {*ASKING, *OF_LVM}


@pytest.mark.parametrize("name", ASKING)
def test_without_a_terminal_nothing_is_done(host: FakeHost, run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "xendomains").write_text("")
    more = ["--settings", str(tmp_path / "xendomains")] if name == "autostart stop" else []
    before = host.domains["web1"].info(), host.domains["web1"].config(), host.debug_keys_sent
    result = run(*name.split(), *ASKING[name], *more)
    assert result.exit_code == 7
    assert "no terminal on which to answer: --yes" in result.stderr
    assert (host.domains["web1"].info(), host.domains["web1"].config(), host.debug_keys_sent) == before
    assert host.xenstore.exists("/local/domain/1")


@pytest.mark.parametrize(
    "line",
    [
        "destroy -y 0",
        "pause 0",
        "shutdown 0",
        "reboot Domain-0",
        "suspend 0",
        "save 0 {folder}/x",
        "migrate 0 host2",
        "trigger -y 0 reset",
        "sysrq -y 0 b",
        "button-press 0 power",
    ],
)
def test_dom0_is_refused(host: FakeHost, run: Run, tmp_path: Path, line: str) -> None:
    result = run(*line.format(folder=tmp_path).split())
    assert (result.exit_code, result.stdout) == (1, ""), result.stderr
    assert "dom0" in result.stderr
    assert host.domains[0].info().is_running
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["pause", "wbe1"], "did you mean 'web1'?"),
        (["block-list", "web"], "did you mean 'web1'?"),
        (["cpupool-list", "Pol-0"], "did you mean 'Pool-0'?"),
        (["cpupool-migrate", "web1", "pool-0"], "did you mean 'Pool-0'?"),
        (["block-detach", "web1", "xvdz"], "it has xvda"),
        (["xenstore", "raed"], "'read'"),
        (["autostart", "enabel"], "'enable'"),
        (["list", "--jsno"], "--json"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(run: Run, words: list[str], hint: str) -> None:
    result = run(*words)
    assert result.exit_code in (2, 3)
    assert hint in " ".join(result.stderr.replace("│", " ").split())


def test_names_that_look_like_options(host: FakeHost, done: Done) -> None:
    for number, name in enumerate(["-f", "--help"]):
        host.create(WEB.replace(name=name, uuid=UUID(int=50 + number), disks=(), vifs=()))
    assert done("domid", "--", "-f") == "2\n"
    assert done("domname", "--", "--help") == "--help\n"


NOT_RUN = {
    "completion",
    "config apply",
    "config diff",
    "config-update",
    "console",
    "convert",
    "create",
    "devd",
    "dmesg",
    "doctor",
    "events",
    "exporter",
    "image cloud",
    "image distribution",
    "lint",
    "migrate",
    "migrate-receive",
    "remus",
    "serve",
    "supervise",
    "xenstore watch",
    *(name for name in EVERY if name.startswith(("autostart ", "volume "))),
}
"""Commands that run on, and those whose examples need files or another host."""


@pytest.mark.parametrize("name", sorted(EVERY.keys() - NOT_RUN))
def test_every_example_is_carried_out_or_refused_for_what_the_host_lacks(host: FakeHost, run: Run, name: str) -> None:
    """No example is wrongly written: status 2 says that."""
    host.create(DomainConfig("vtpmmgr", type="pvh", kernel="/boot/vmlinuz", memory=64))
    host.create(DomainConfig("pc", type="hvm", memory=64, disks=[Disk("/srv/a.iso", vdev="hdc", cdrom=True)]))
    (line,) = re.findall(r"^ *Example: (.*)$", EVERY[name].__doc__ or "", re.MULTILINE)
    result = run(*shlex.split(line)[1:])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code != 2, result.stderr
    if name.endswith("-attach") and name not in {"pci-attach", "usbctrl-attach", "usbdev-attach", "psr-cmt-attach"}:
        assert (result.exit_code, result.stderr) == (0, "")
