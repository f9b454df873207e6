"""The other modules of the collection, the inventory, and the collection's own files."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

import pyxen
from pyxen import DomainConfig
from pyxen.testing import FakeHost
from tests.ansible.conftest import COLLECTIONS, Task

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
    assert "the host three (xenlight:///nowhere): UnsupportedFeature" in re.sub(r"\s+", " ", capsys.readouterr().err)
    found = inventory_of(hosts=down, ignore_unreachable=True)
    assert "web1_two" in found.hosts
