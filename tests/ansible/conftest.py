"""The modules of the collection, run in this process, so that the hosts of ``memory:///`` live on between tasks."""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.plugins.loader import init_plugin_loader

import pyxen

COLLECTIONS = Path(__file__).resolve().parents[2] / "ansible"
MODULES = "ansible_collections.pyxen.xen.plugins.modules"

Task = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def collection() -> None:
    """Let Ansible find the collection."""
    init_plugin_loader([str(COLLECTIONS)])


@pytest.fixture
def uri() -> str:
    """Return the URI of a host in memory that no other test has."""
    return f"memory:///{uuid.uuid4().hex}"


@pytest.fixture
def xen(uri: str) -> Iterator[pyxen.Host]:
    with pyxen.connect(uri) as host:
        yield host


@pytest.fixture
def task(uri: str, capsys: pytest.CaptureFixture[str]) -> Task:
    """Return what runs a module, and returns what it prints."""

    def run(module_name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        module = importlib.import_module(f"{MODULES}.{module_name}")
        given = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/nonexistent", **options}
        if module_name != "xen_image":
            given.setdefault("uri", uri)
        capsys.readouterr()
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            module.main()
        printed = capsys.readouterr()
        result: dict[str, Any] = json.loads(printed.out)
        assert ended.value.code == (1 if result.get("failed") else 0)
        return {**result, "warned": printed.err}  # a module warns on the terminal if the controller is in its process

    return run
