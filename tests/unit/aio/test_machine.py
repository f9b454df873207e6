"""The machine around Xen, awaited: the same names and arguments as the blocking modules, and cancelled tasks."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pyxen.bridges
import pyxen.doctor
import pyxen.images
import pyxen.storage
from pyxen import Disk, DomainConfig, FileMissing, VolumeExists, aio
from pyxen.aio import bridges, doctor, images, storage
from pyxen.doctor import Surroundings
from pyxen.images import Access
from pyxen.storage.holders import disks_of
from pyxen.testing import FakeHost
from tests.waiting import until_async

ACCESS = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])


@pytest.mark.parametrize(
    ("awaited", "blocking"),
    [
        (bridges, pyxen.bridges),
        (doctor, pyxen.doctor),
        (images, pyxen.images),
        (storage, pyxen.storage),
    ],
)
def test_the_same_names_and_arguments(awaited: ModuleType, blocking: ModuleType) -> None:
    assert awaited.__all__ == blocking.__all__
    for name in blocking.__all__:
        ours, theirs = getattr(awaited, name), getattr(blocking, name)
        if inspect.isfunction(theirs):
            assert inspect.iscoroutinefunction(ours)
            assert (inspect.signature(ours), ours.__doc__) == (inspect.signature(theirs), theirs.__doc__)
            assert ours.__module__ == awaited.__name__
        elif name == "VolumeGroup":
            for verb, method in vars(theirs).items():
                if inspect.isfunction(method) and not verb.startswith("_"):
                    assert inspect.iscoroutinefunction(getattr(ours, verb)), verb
                    assert inspect.signature(getattr(ours, verb)) == inspect.signature(method)
        else:
            assert ours is theirs


def test_results_and_errors(tmp_path: Path) -> None:
    async def ask() -> None:
        made = await storage.create_image(tmp_path / "a.img", "1M")
        assert await storage.image_info(made.path, format="raw") == made
        with pytest.raises(VolumeExists):
            await storage.create_image(tmp_path / "a.img", "1M")
        with pytest.raises(FileMissing):
            await images.from_cloud_image(tmp_path / "none", tmp_path / "b", ACCESS)
        report = await doctor.examine(Surroundings(tmp_path))
        assert report["xen"].severity is doctor.Severity.ERROR
        assert await bridges.bridges() == pyxen.bridges.bridges()

    asyncio.run(ask())


def test_the_disks_of_a_host(xen_host: FakeHost, aio_xen_host: aio.Host) -> None:
    config = DomainConfig("web1", type="pvh", kernel="/k", memory=64, disks=[Disk("/dev/vg0/a", vdev="xvda")])
    xen_host.create(config)
    xen_host.define(config.replace(name="web2"))
    group = storage.VolumeGroup("vg0", host=aio_xen_host)

    async def ask() -> list[tuple[str, Disk]]:
        return [*(await group._asked())._disks()]

    found = asyncio.run(ask())
    assert found == [*disks_of(xen_host)]
    assert [name for name, _ in found] == ["web1", "web2"]


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qemu-img whose ``convert`` and ``create`` never end; return the file that says that one has begun."""
    folder, begun = tmp_path / "bin", tmp_path / "begun"
    folder.mkdir()
    script = f'#!/bin/sh\n[ "$1" = info ] && exec {shutil.which("qemu-img")} "$@"\ntouch {begun}\nsleep 98765 & wait\n'
    (folder / "qemu-img").write_text(script)
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return begun


@pytest.mark.parametrize("cancels", [1, 2])
def test_a_task_that_is_cancelled(tmp_path: Path, hanging: Path, cancels: int) -> None:
    folder = tmp_path / "disks"
    folder.mkdir()
    with (tmp_path / "cloud.img").open("wb") as file:
        file.truncate(1 << 20)

    def begun() -> bool:
        if found := hanging.exists():
            hanging.unlink()
        return found

    async def cancel() -> None:
        for call in (
            images.from_cloud_image(tmp_path / "cloud.img", folder / "web1.qcow2", ACCESS),
            storage.create_image(folder / "a.qcow2", "1M", format="qcow2"),
        ):
            task = asyncio.create_task(call)
            await until_async(begun, "the program does not begin")
            assert not task.done()
            for _ in range(cancels):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert cancels == 2 or not [*folder.iterdir()]  # the second does not wait
            await until_async(lambda: not [*folder.iterdir()], "something is left")

    asyncio.run(cancel())
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "sleep 98765" not in listed


def test_a_program_that_ends_meanwhile(tmp_path: Path, hanging: Path) -> None:
    """Its loop ends first, and with it who could cancel the task. What a child of a fork does at its end is its own."""
    folder = tmp_path / "disks"
    folder.mkdir()
    program = f"""
import asyncio, os, sys
from pathlib import Path
from pyxen.aio import storage

async def main():
    global task
    task = asyncio.create_task(storage.create_image({str(folder / "a.qcow2")!r}, "1M", format="qcow2"))
    while not Path({str(hanging)!r}).exists():
        await asyncio.sleep(0.01)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
task._log_destroy_pending = False  # asyncio would complain, rightly
if not os.fork():
    sys.exit()  # it has no program to wait for
os.wait()
print(*os.listdir({str(folder)!r}))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]  # newer Pythons warn of a fork beside threads
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a.qcow2\n"  # the end of the child has removed nothing
    assert not [*folder.iterdir()]
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "sleep 98765" not in listed
