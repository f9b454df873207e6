"""The fixture for pytest, as pytest finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

TESTS = """
import asyncio
import pytest
import pyxen, pyxen.aio

def test_one(xen_host):
    with pyxen.connect() as xen:
        xen.create(pyxen.DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz"))
    assert "web1" in xen_host.domains

def test_another(xen_host):
    assert "web1" not in xen_host.domains
    xen_host.vanish()

@pytest.mark.xen_host(time="real", memory=1024)
class TestSmall:
    @pytest.mark.xen_host(cpus=2, memory=2048)
    def test_the_closest_marker_decides(self, xen_host):
        assert (xen_host.info().nr_cpus, xen_host.info().memory_kib) == (2, 2048 * 1024)
        with pytest.raises(pyxen.InvalidArgument, match="time is real"):
            xen_host.advance(1)

def test_asyncio(aio_xen_host, xen_host):
    async def main():
        await aio_xen_host.create(pyxen.DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz"))
        async with pyxen.aio.connect() as other:
            return [info.name for info in await other.list()]
    assert asyncio.run(main()) == ["Domain-0", "web1"]
    assert "web1" in xen_host.domains

@pytest.mark.asyncio
async def test_asyncio_in_the_loop_of_a_plugin(aio_xen_host):
    assert (await aio_xen_host.info()).nr_cpus == 4
"""

WRONG = """
import pytest
from pyxen import OperationFailed

def test_a_failure_that_was_not_used(xen_host):
    xen_host.fail("create", OperationFailed("no"), domain="web1")

def test_one_that_was_used_in_part(xen_host):
    xen_host.fail("list", OperationFailed("no"), times=2)
    with pytest.raises(OperationFailed):
        xen_host.list()

def test_some_that_were_used(xen_host):
    for times in (1, None):
        xen_host.fail("list", OperationFailed("no"), times=times)
        with pytest.raises(OperationFailed):
            xen_host.list()

@pytest.mark.xen_host(memry=1024)
def test_no_such_argument(xen_host):
    pass

@pytest.mark.xen_host(1024)
def test_no_name(xen_host):
    pass
"""


CONFTEST = """
import asyncio, inspect, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):  # as the plugins for asyncio do
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = pyfuncitem._fixtureinfo.argnames
        asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True

def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio: a coroutine")
"""


def run(folder: Path, tests: str) -> tuple[int, str]:
    """Run tests where pyxen is installed, and return the status of pytest and what it says."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    record = folder / "site" / "installed-1.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (record / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (folder / "test_it.py").write_text(tests)
    (folder / "conftest.py").write_text(CONFTEST)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT / "src")])}
    options = ["-q", "-rA", "--strict-markers", "-W", "error", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "test_it.py"]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=240
    )
    return done.returncode, done.stdout + done.stderr


def test_the_fixtures_are_there_once_pyxen_is_installed(tmp_path: Path) -> None:
    status, told = run(tmp_path, TESTS)
    assert (status, "5 passed" in told) == (0, True), told


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    status, told = run(tmp_path, WRONG)
    assert (status, "3 passed, 4 errors" in told) == (1, True), told
    assert "fail('create', OperationFailed, domain='web1') was never met" in told
    assert "fail('list', OperationFailed) was met 1 times, and waits for 1 more" in told
    assert "unexpected keyword argument 'memry'" in told
    assert "takes named arguments only, such as time='real'" in told
