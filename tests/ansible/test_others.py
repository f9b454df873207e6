"""The other modules of the collection, the inventory, and the collection's own files."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

import pyxen
from pyxen import DomainConfig
from pyxen.testing import FakeHost
from tests.ansible.conftest import COLLECTIONS, MODULES, Task

COLLECTION = COLLECTIONS / "ansible_collections/pyxen/xen"
CONFIG = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=128)


def test_domains_are_listed_with_their_configurations(task: Task, xen: pyxen.Host) -> None:
    xen.create(CONFIG)
    xen.define(CONFIG.replace(name="web2"))
    plain = task("xen_domain_info")
    assert [each["name"] for each in plain["domains"]] == ["Domain-0", "web1"]
    assert [each["name"] for each in plain["defined"]] == ["web2"]
    assert "config" not in plain["domains"][0]
    [web1] = task("xen_domain_info", names=["web1", "web9"], configs=True, check=True)["domains"]
    assert (web1["memory_kib"], web1["config"]["kernel"]) == (128 << 10, "/boot/vmlinuz")


def test_a_host_is_looked_at(task: Task, xen: pyxen.Host) -> None:
    found = task("xen_host_info")
    assert found["host"]["nr_cpus"] == xen.info().nr_cpus
    assert [pool["name"] for pool in found["cpupools"]] == ["Pool-0"]


def test_a_domain_moves_once(task: Task, xen: pyxen.Host) -> None:
    with FakeHost() as other:
        domain = xen.create(CONFIG)
        move: dict[str, Any] = {"name": "web1", "destination": [other.uri], "missing_ok": True}
        assert task("xen_migrate", check=True, **move)["changed"]
        assert "web1" in xen.domains
        moved = task("xen_migrate", **move)
        assert (moved["changed"], moved["uuid"]) == (True, str(domain.uuid))
        with pyxen.connect(other.uri) as there:
            assert there.domains["web1"].uuid == domain.uuid
        again = task("xen_migrate", **move)
        assert (again["changed"], again["domid"]) == (False, None)
        assert task("xen_migrate", **{**move, "missing_ok": False})["error"] == "DomainNotFound"


@pytest.fixture
def inventory_of(tmp_path: Path) -> Any:
    def read(**options: Any) -> InventoryManager:
        path = tmp_path / "site.xen.yml"
        path.write_text(json.dumps({"plugin": "pyxen.xen.xen", **options}))
        return InventoryManager(loader=DataLoader(), sources=[str(path)])

    return read


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    with FakeHost() as one, FakeHost() as two:
        with pyxen.connect(one.uri) as xen:
            xen.create(CONFIG)
            xen.create(CONFIG.replace(name="db-1"), paused=True)
        with pyxen.connect(two.uri) as xen:
            xen.create(CONFIG)
        yield {"one": one.uri, "two": two.uri}


def test_domains_are_the_hosts_of_an_inventory(inventory_of: Any, hosts: dict[str, str]) -> None:
    found = inventory_of(
        hosts=hosts,
        keyed_groups=[{"key": "xen_type", "prefix": "kind"}],
        compose={"ansible_host": "inventory_hostname ~ '.example'"},
        groups={"large": "xen_memory_kib > 1048576", "small": "xen_memory_kib <= 1048576"},
    )
    groups = {name: sorted(hosts) for name, hosts in found.get_groups_dict().items() if hosts}
    both = ["db-1", "web1_one", "web1_two"]
    assert groups["xen_pool_Pool_0"] == groups["small"] == groups["kind_pvh"] == both
    assert groups["xen_state_running"] == ["web1_one", "web1_two"]
    assert groups["xen_state_paused"] == ["db-1"]
    assert (groups["xen_host_one"], groups["xen_host_two"]) == (["db-1", "web1_one"], ["web1_two"])
    assert "large" not in groups
    variables = found.get_host("web1_two").vars
    assert (variables["xen_name"], variables["xen_uri"], variables["xen_domid"]) == ("web1", hosts["two"], 1)
    assert variables["ansible_host"] == "web1_two.example"


def test_a_host_that_is_down_is_an_error_or_a_warning(
    inventory_of: Any, hosts: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    down = {**hosts, "three": "xenlight:///nowhere"}
    inventory_of(hosts=down)
    assert "the host three: UnsupportedFeature" in re.sub(r"\s+", " ", capsys.readouterr().err)
    found = inventory_of(hosts=down, ignore_unreachable=True)
    assert "web1_two" in found.hosts


def test_answers_are_kept_in_the_cache(inventory_of: Any, hosts: dict[str, str], tmp_path: Path) -> None:
    cached = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    inventory_of(hosts=hosts, **cached)
    with pyxen.connect(hosts["two"]) as xen:
        xen.domains["web1"].destroy()
    assert set(inventory_of(hosts=hosts, **cached).hosts) == {"db-1", "web1_one", "web1_two"}
    assert set(inventory_of(hosts=hosts).hosts) == {"db-1", "web1"}


def test_a_disk_is_made_once_from_a_cloud_image(task: Task, tmp_path: Path) -> None:
    source, target = tmp_path / "cloud.qcow2", tmp_path / "web1.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(source), "1M"], check=True, timeout=60)
    wanted = {"path": str(target), "hostname": "web1", "password": "hunter2", "cloud_image": str(source)}
    assert task("xen_image", check=True, **wanted)["changed"]
    assert not target.exists()
    made = task("xen_image", **wanted)
    assert (made["changed"], made["config"]["name"]) == (True, "web1")
    assert [disk["target"] for disk in made["config"]["disks"]] == [str(target), str(tmp_path / "web1-seed.iso")]
    assert "hunter2" not in str(made)
    before = target.stat().st_mtime_ns
    assert not task("xen_image", **wanted)["changed"]
    assert target.stat().st_mtime_ns == before
    target.unlink()
    assert task("xen_image", **wanted)["error"] == "VolumeExists"  # its CD
    assert task("xen_image", **{**wanted, "overwrite": True})["changed"]


def test_a_disk_that_cannot_be_made_says_why(task: Task, tmp_path: Path) -> None:
    wanted = {"path": str(tmp_path / "web1.img"), "hostname": "web1"}
    failed = task("xen_image", **wanted)
    assert (failed["error"], "give ssh_keys or password" in failed["msg"]) == ("InvalidArgument", True)
    failed = task("xen_image", **wanted, ssh_keys=["ssh-ed25519 AAAA me"], cloud_image=str(tmp_path / "none"))
    assert failed["error"] == "FileMissing"
    assert os.listdir(tmp_path) == []


def test_a_volume_group_that_is_missing_is_an_error(task: Task) -> None:
    for state in ("present", "absent"):
        failed = task("xen_volume", group="nonesuch", name="web1", size="20G", state=state)
        assert failed["error"] in {"NotFound", "StorageError", "ToolMissing"}
    assert "size" in task("xen_volume", group="vg0", name="web1", size="large")["msg"]


def modules() -> list[str]:
    return sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("xen_*.py"))


def test_every_module_is_in_the_readme_and_in_the_group_of_defaults() -> None:
    readme = (COLLECTION / "README.md").read_text()
    assert modules() == sorted(set(re.findall(r"`(xen_\w+)`", readme)))
    assert yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["action_groups"]["all"] == modules()


def test_the_collection_has_the_version_of_pyxen() -> None:
    project = tomllib.loads((COLLECTIONS.parent / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == project["version"]


@pytest.mark.parametrize("name", modules())
def test_the_documentation_has_the_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"{MODULES}.{name}")
    seen: dict[str, Any] = {}

    def remember(**settings: Any) -> None:
        seen.update(settings["argument_spec"])
        raise SystemExit

    monkeypatch.setattr(module, "AnsibleModule", remember)
    with pytest.raises(SystemExit):
        module.main()
    documented = yaml.safe_load(module.DOCUMENTATION)
    options = documented.get("options", {})
    fragment = importlib.import_module("ansible_collections.pyxen.xen.plugins.doc_fragments.host").ModuleDocFragment
    if "extends_documentation_fragment" in documented:
        options = {**yaml.safe_load(fragment.DOCUMENTATION)["options"], **options}
    facets = ("type", "default", "choices", "elements", "required")
    spec = {option: {facet: value.get(facet) for facet in facets} for option, value in seen.items()}
    assert {option: {facet: value.get(facet) for facet in facets} for option, value in options.items()} == spec
    for example in yaml.safe_load(module.EXAMPLES):
        for action in [key for key in example if key.startswith("pyxen.xen.")]:
            given = example[action] or {}
            if action == f"pyxen.xen.{name}":
                assert set(given) <= set(spec)
