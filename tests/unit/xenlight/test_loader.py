"""Three ways in which a host cannot be opened, and the three messages that say what to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen
import pyxen.backends.xenlight.libxl
from pyxen.backends.xenlight.libxl import loader
from pyxen.backends.xenlight.libxl.loader import check_host
from pyxen.errors import (
    BindingNotBuilt,
    ConnectFailed,
    Error,
    InvalidArgument,
    LibraryMissing,
    NotOnXen,
    NotPrivileged,
    UnsupportedFeature,
)


class Machine:
    """The files by which a kernel tells what it runs on, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.sysfs = folder / "sys" / "hypervisor"
        self.privcmd = folder / "dev" / "xen" / "privcmd"
        self.capabilities = folder / "proc" / "xen" / "capabilities"

    def on_xen(self, version: str = "4 20 .1", *, kind: str = "xen") -> Machine:
        (self.sysfs / "version").mkdir(parents=True)
        (self.sysfs / "type").write_text(f"{kind}\n")
        for name, value in zip(("major", "minor", "extra"), version.split(" "), strict=True):
            (self.sysfs / "version" / name).write_text(f"{value}\n")
        return self

    def with_privcmd(self) -> Machine:
        self.privcmd.parent.mkdir(parents=True)
        self.privcmd.touch()
        return self

    def with_rights(self, text: str) -> Machine:
        self.capabilities.parent.mkdir(parents=True)
        self.capabilities.write_text(text)
        return self

    def check(self, *, control: bool = True) -> None:
        check_host(self.sysfs, self.privcmd, self.capabilities, control=control)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# Not on Xen, or not its control domain


def test_not_on_xen(machine: Machine) -> None:
    with pytest.raises(NotOnXen, match=r"does not run on Xen.*boot Xen, use libvirt"):
        machine.check()


def test_on_xen_without_privcmd(machine: Machine) -> None:
    with pytest.raises(NotOnXen, match="load the kernel module xen-privcmd, or run this in dom0"):
        machine.on_xen().check()


def test_a_guest_may_be_a_driver_domain(machine: Machine) -> None:
    machine.on_xen().with_privcmd().with_rights("\n")
    machine.check(control=False)


def test_a_guest(machine: Machine) -> None:
    with pytest.raises(NotOnXen, match="a guest of Xen, not its control domain"):
        machine.on_xen().with_privcmd().with_rights("\n").check()


def test_dom0(machine: Machine) -> None:
    machine.on_xen().with_privcmd().with_rights("control_d\n").check()


def test_dom0_without_xenfs(machine: Machine) -> None:
    machine.on_xen().with_privcmd().check()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Ask about permissions as a user without any: os.access goes by the real user, not by the effective one."""
    if os.getuid() != 0:
        yield  # a file of one's own that allows nothing does the same
        return
    os.setreuid(65534, -1)
    try:
        yield
    finally:
        os.setreuid(0, -1)


def test_not_privileged() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        machine = Machine(Path(folder)).on_xen().with_privcmd().with_rights("control_d\n")
        machine.privcmd.chmod(0o000)
        with as_nobody(), pytest.raises(NotPrivileged, match=r"/dev/xen/privcmd: run this as root") as caught:
            machine.check()
        assert isinstance(caught.value, PermissionError)
        machine.privcmd.chmod(0o666)
        with as_nobody():
            machine.check()


# What runs


@pytest.mark.parametrize(
    ("version", "told", "release"),
    [
        ("4 20 .1", "4.20.1", "4.20"),
        ("4 17 .6-pre", "4.17.6-pre", "4.17"),
        ("4 21 -unstable", "4.21-unstable", "4.21"),
        ("5 0 .0", "5.0.0", "5.0"),
    ],
)
def test_the_running_release(machine: Machine, version: str, told: str, release: str) -> None:
    machine.on_xen(version)
    assert loader.running_version(machine.sysfs) == told
    assert loader.running_release(machine.sysfs) == release


def test_no_release_runs_off_xen(machine: Machine) -> None:
    assert (loader.running_version(machine.sysfs), loader.running_release(machine.sysfs)) == ("", None)


def test_another_hypervisor_is_not_xen(machine: Machine) -> None:
    assert loader.running_release(machine.on_xen(kind="other").sysfs) is None


# Not built


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in place of the one with the compiled modules; releases that Xen never had."""
    monkeypatch.setattr(pyxen.backends.xenlight.libxl, "__path__", [str(tmp_path)])
    monkeypatch.setattr(loader, "running_release", lambda: None)
    yield tmp_path
    for name in [name for name in sys.modules if "._xenlight_9" in name]:
        del sys.modules[name]


def test_nothing_was_built(modules: Path) -> None:
    assert list(modules.iterdir()) == []
    with pytest.raises(BindingNotBuilt, match=r"for Xen \(any release\): there is none at all. Install .*libxen-dev"):
        loader.load()


def test_nothing_is_built_in_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "app.pyz"
    file.touch()
    monkeypatch.setattr(pyxen.backends.xenlight.libxl, "__path__", [f"{file}/pyxen/backends/xenlight/libxl"])
    assert loader.built_releases() == []


def test_built_for_other_releases(modules: Path) -> None:
    for release in ("99_2", "98_10", "98_9"):
        (modules / f"_xenlight_{release}.py").write_text("lib = ffi = None\n")
    assert loader.built_releases() == ["98.9", "98.10", "99.2"]
    with pytest.raises(BindingNotBuilt, match=r"for Xen 98\.11: there is one for Xen 98\.9, 98\.10, 99\.2") as caught:
        loader.load("98.11")
    assert isinstance(caught.value, ConnectionError)
    assert "PYXEN_XENLIGHT=require pip install" in str(caught.value)


def test_the_running_release_is_chosen_and_off_xen_the_newest(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for release in ("99_2", "98_10"):
        (modules / f"_xenlight_{release}.py").write_text("lib = ffi = None\n")
    assert loader.load().__name__ == "pyxen.backends.xenlight.libxl._xenlight_99_2"
    monkeypatch.setattr(loader, "running_release", lambda: "98.10")
    assert loader.load().__name__ == "pyxen.backends.xenlight.libxl._xenlight_98_10"
    monkeypatch.setattr(loader, "running_release", lambda: "98.11")
    with pytest.raises(BindingNotBuilt, match=r"98\.11"):
        loader.load()


# The library is missing: a real one, as ld.so finds it out


def compile_shared(source: str, out: Path, *flags: str) -> None:
    command = ["cc", "-shared", "-fPIC", "-o", str(out), "-x", "c", "-", "-x", "none", *flags]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True, timeout=60)


def test_a_library_is_missing(modules: Path) -> None:
    library = modules / "libxenlight-of-98.so"
    compile_shared("int needed(void) { return 1; }", library)
    module = modules / "_xenlight_98_1.abi3.so"
    compile_shared("int needed(void); void *PyInit__xenlight_98_1(void) { needed(); return 0; }", module, str(library))
    library.unlink()
    with pytest.raises(
        LibraryMissing, match=r"for Xen 98\.1 is there, but does not load: .*libxenlight-of-98"
    ) as caught:
        loader.load("98.1")
    assert "libxenmisc98.1" in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


# When they come


def test_connect_says_it_and_not_import(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "check_host", lambda *, control: machine.check(control=control))
    with pytest.raises(NotOnXen, match="does not run on Xen"):
        pyxen.connect()
    machine.on_xen().with_privcmd().with_rights("\n")
    with pytest.raises(NotOnXen, match="not its control domain"):
        pyxen.connect()


def test_an_unknown_uri() -> None:
    with pytest.raises(UnsupportedFeature, match="bochs:///"):
        pyxen.connect("bochs:///")


@pytest.mark.parametrize("workers", ["2", 1.5, True, float("nan"), float("inf"), -1, 65])
def test_what_is_no_number_of_workers(workers: Any) -> None:
    with pytest.raises(InvalidArgument, match="workers"):
        pyxen.connect(workers=workers)


def test_the_three_are_one_kind_for_whoever_does_not_care() -> None:
    for kind in (BindingNotBuilt, LibraryMissing, NotOnXen, NotPrivileged):
        assert issubclass(kind, ConnectFailed)
        assert issubclass(kind, Error)
