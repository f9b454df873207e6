"""xen_domain: every state, check mode, differences, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig, libvirtxml, xlcfg
from tests.ansible.conftest import Task

CONFIG = {"name": "web1", "type": "pvh", "kernel": "/boot/vmlinuz", "memory": 128, "vcpus": 1, "maxvcpus": 2}
STATES = {"present": "running", "running": "running", "paused": "paused"}


@pytest.mark.parametrize("state", STATES)
def test_a_domain_comes_into_being_once(task: Task, xen: pyxen.Host, state: str) -> None:
    dry = task("xen_domain", config=CONFIG, state=state, check=True)
    assert (dry["changed"], dry["steps"], dry["domid"]) == (True, ["create"], None)
    assert len(xen.guests) == 0
    first = task("xen_domain", config=CONFIG, state=state)
    assert (first["changed"], first["state"]) == (True, STATES[state])
    info = xen.domains["web1"].info()
    assert (first["domid"], first["uuid"], first["domain"]["name"]) == (info.domid, str(info.uuid), "web1")
    for check in (True, False):
        again = task("xen_domain", config=CONFIG, state=state, check=check)
        assert (again["changed"], again["steps"], again["domid"]) == (False, [], info.domid)


@pytest.mark.parametrize("how", ["content", "src"])
@pytest.mark.parametrize("write", [xlcfg.dumps, libvirtxml.dumps])
def test_a_configuration_is_a_text_or_a_file(task: Task, xen: pyxen.Host, tmp_path: Path, how: str, write: Any) -> None:
    text = write(DomainConfig.from_dict(CONFIG))
    (tmp_path / "web1").write_text(text)
    given = {"content": text} if how == "content" else {"src": str(tmp_path / "web1")}
    assert task("xen_domain", **given)["changed"]
    assert not task("xen_domain", **given)["changed"]
    assert xen.domains["web1"].config().memory == 128


def test_the_name_and_the_uuid_of_a_task_win(task: Task, xen: pyxen.Host) -> None:
    uuid = "8d9e5d3a-53a2-4f0e-8c3e-0d7f9f0c1a11"
    made = task("xen_domain", name="web2", uuid=uuid, config=CONFIG)
    assert (made["name"], made["uuid"]) == ("web2", uuid)
    renamed = task("xen_domain", name="web3", uuid=uuid, config=CONFIG)
    assert renamed["domid"] == made["domid"]
    assert xen.domains["web3"].domid == made["domid"]


def test_a_running_domain_is_changed_by_hotplug(task: Task, xen: pyxen.Host) -> None:
    before = task("xen_domain", config=CONFIG)
    wanted = {**CONFIG, "memory": 64, "vcpus": 2, "vifs": [{"bridge": "xenbr0"}]}
    dry = task("xen_domain", config=wanted, check=True)
    assert xen.domains["web1"].config().memory == 128
    done = task("xen_domain", config=wanted)
    assert done["steps"] == dry["steps"]
    assert [step.split()[0] for step in done["steps"]] == ["set_memory", "set_maxmem", "set_vcpus", "attach"]
    assert "memory: 128 -> 64" in done["diff"]["prepared"]
    assert done["diff"] == dry["diff"]
    assert done["domid"] == before["domid"]
    assert not task("xen_domain", config=wanted)["changed"]


def test_what_needs_a_restart_is_said_and_done_if_allowed(task: Task) -> None:
    first = task("xen_domain", config=CONFIG)
    wanted = {**CONFIG, "maxvcpus": 4}
    left = task("xen_domain", config=wanted)
    assert (left["changed"], left["domid"]) == (False, first["domid"])
    assert left["needs_restart"] == ["maxvcpus: Xen makes the vCPUs when it creates a domain"]
    dry = task("xen_domain", config=wanted, restart="if_needed", check=True)
    done = task("xen_domain", config=wanted, restart="if_needed")
    assert dry["steps"] == done["steps"] == ["shutdown", "create"]
    assert (done["uuid"], done["needs_restart"]) == (first["uuid"], [])
    assert done["domid"] != first["domid"]
    assert not task("xen_domain", config=wanted, restart="if_needed")["changed"]


def test_a_domain_that_could_not_be_created_anew_is_left_alone(task: Task, uri: str, tmp_path: Path) -> None:
    here = f"{uri}?files=here&bridges=xenbr0"
    (tmp_path / "vmlinuz").touch()
    config = {**CONFIG, "kernel": str(tmp_path / "vmlinuz")}
    first = task("xen_domain", uri=here, config=config)
    missing = ({"kernel": "/nonexistent"}, "FileMissing"), ({"maxvcpus": 4, "vifs": [{"bridge": "br9"}]}, "NotFound")
    for settings, error in missing:
        failed = task("xen_domain", uri=here, config={**config, **settings}, restart="if_needed", state="running")
        assert failed["error"] == error
        assert task("xen_domain", uri=here, name="web1")["domid"] == first["domid"]


def test_a_reboot_needs_no_configuration(task: Task) -> None:
    first = task("xen_domain", config=CONFIG)
    again = task("xen_domain", name="web1", state="running", restart="always")
    assert (again["steps"], again["uuid"], again["state"]) == (["shutdown", "create"], first["uuid"], "running")
    assert again["domid"] != first["domid"]


def test_pause_and_unpause(task: Task) -> None:
    task("xen_domain", config=CONFIG)
    for state, steps in (("paused", ["pause"]), ("present", []), ("running", ["unpause"]), ("running", [])):
        done = task("xen_domain", name="web1", state=state)
        assert done["steps"] == steps


def test_a_stopped_domain_is_gone_unless_the_host_stores_it(task: Task, xen: pyxen.Host) -> None:
    task("xen_domain", config=CONFIG)
    stopped = task("xen_domain", name="web1", state="stopped")
    assert (stopped["steps"], stopped["state"], stopped["domid"]) == (["shutdown"], "absent", None)
    assert not task("xen_domain", name="web1", state="stopped")["changed"]
    failed = task("xen_domain", name="web1", state="running")
    assert failed["error"] == "DomainNotFound"
    assert "give config" in failed["msg"]
    kept = task("xen_domain", config=CONFIG, state="running", persistent=True)
    assert kept["steps"] == ["define", "start"]
    assert task("xen_domain", name="web1", state="stopped")["state"] == "stopped"
    assert task("xen_domain", name="web1", state="running")["steps"] == ["start"]
    gone = task("xen_domain", name="web1", state="absent")
    assert (gone["steps"], gone["state"]) == (["destroy", "undefine"], "absent")
    assert not xen.defined()


def test_what_is_stored_is_changed_though_the_domain_is_not(task: Task, xen: pyxen.Host) -> None:
    task("xen_domain", config=CONFIG)
    assert not xen.defined()
    for steps in (["define"], []):
        kept = task("xen_domain", config=CONFIG, persistent=True)
        assert (kept["steps"], kept["changed"]) == (steps, bool(steps))
    (stored,) = xen.defined()
    assert stored.uuid == xen.domains["web1"].uuid
    later = {**CONFIG, "kernel": "/boot/other"}
    assert task("xen_domain", config=later)["steps"] == []
    foreseen = task("xen_domain", config=later, persistent=True, check=True)
    assert foreseen["steps"] == ["define"]
    assert xen.defined_config(stored.uuid).kernel == CONFIG["kernel"]
    assert task("xen_domain", config=later, persistent=True)["steps"] == ["define"]
    assert xen.defined_config(stored.uuid).kernel == "/boot/other"
    assert task("xen_domain", config=later, persistent=True)["steps"] == []


@pytest.mark.usefixtures("xen")
def test_what_is_kept_where_nothing_is_stored(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on ``xenlight:///``: the next restart uses it."""
    supports = pyxen.Host.supports
    monkeypatch.setattr(pyxen.Host, "supports", lambda host, feature: feature != "define" and supports(host, feature))
    task("xen_domain", config=CONFIG)
    assert task("xen_domain", config=CONFIG, persistent=True)["steps"] == []
    later = {**CONFIG, "kernel": "/boot/other"}
    for wanted, steps in ((later, ["update_config"]), (later, []), (CONFIG, ["update_config"]), (CONFIG, [])):
        kept = task("xen_domain", config=wanted, persistent=True)
        assert (kept["steps"], bool(kept["needs_restart"])) == (steps, wanted is later)
    monkeypatch.setattr(pyxen.Domain, "userdata", lambda _domain, _key: b"of no = use [")
    assert task("xen_domain", config=CONFIG, persistent=True)["steps"] == ["update_config"]


def test_a_guest_that_does_not_answer_is_destroyed_if_forced(task: Task, xen: pyxen.Host) -> None:
    task("xen_domain", config=CONFIG, state="paused")
    failed = task("xen_domain", name="web1", state="stopped")
    assert failed["error"] == "InvalidState"
    assert "web1" in xen.domains
    assert task("xen_domain", name="web1", state="stopped", force=True)["changed"]
    assert "web1" not in xen.domains


def test_a_domain_that_has_ended_is_started_anew(task: Task, xen: pyxen.Host) -> None:
    ends = {**CONFIG, "on_poweroff": "preserve"}
    task("xen_domain", config=ends)
    xen.domains["web1"].shutdown(timeout=60)
    assert task("xen_domain", config=ends)["state"] == "shutdown"
    assert task("xen_domain", name="web1", state="running")["steps"] == ["destroy", "create"]
    assert task("xen_domain", name="web1", state="absent")["changed"]


def test_errors_of_pyxen_have_their_class_and_their_remedy(task: Task) -> None:
    failed = task("xen_domain", config={**CONFIG, "memroy": 5})
    assert (failed["error"], failed["path"]) == ("ValidationError", "memroy")
    assert "did you mean 'memory'" in failed["msg"]
    failed = task("xen_domain", config={**CONFIG, "memory": 1 << 30})
    assert (failed["error"], failed["operation"]) == ("NotEnoughMemory", "create")
    assert task("xen_domain", content="name = web1")["error"] == "ParseError"
    assert task("xen_domain", name="web1", uri="nonsense:///")["error"] == "UnsupportedFeature"
    assert "No such file" in task("xen_domain", src="/nonexistent/web1.cfg")["msg"]
    assert "mutually exclusive" in task("xen_domain", config=CONFIG, src="/etc/xen/web1.cfg")["msg"]
    assert task("xen_domain", name="web1", uuid="nonsense", state="absent")["error"] == "InvalidArgument"


def test_passwords_are_not_in_the_diff(task: Task) -> None:
    hvm = {"name": "win1", "type": "hvm", "memory": 128, "vnc": {"enable": True, "passwd": "hunter2"}}
    task("xen_domain", config=hvm)
    hvm["vnc"] = {"enable": True, "passwd": "hunter3"}
    left = task("xen_domain", config={**hvm, "memory": 64})
    assert left["changed"]
    assert "hunter" not in str({key: left[key] for key in left if key != "invocation"})


def test_losses_of_a_conversion_are_warnings(task: Task) -> None:
    text = libvirtxml.dumps(DomainConfig.from_dict(CONFIG)).replace("</name>", "</name><memtune/>", 1)
    made = task("xen_domain", content=text)
    assert made["changed"]
    assert "not taken over: memtune[1]" in " ".join(made["warned"].split())


def test_without_pyxen_the_task_says_what_is_missing(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    task("xen_domain_info")
    from ansible_collections.pyxen.xen.plugins.module_utils import host

    monkeypatch.setattr(host, "WHY_NOT", "Traceback")
    failed = task("xen_domain_info")
    assert "Failed to import the required Python library (pyxen)" in failed["msg"]
