"""The extension is built of one Xen, headers and libraries, and pip builds it when it is told to."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import headers
import linking
import program
import pytest
import xenlight

from pyxen.backends.xenlight.libxl import loader
from pyxen.errors import BindingNotBuilt

ROOT = Path(__file__).resolve().parents[2]

# The headers and the libraries come from where pkg-config says


def told(name: str, package: str) -> str:
    """Return a variable of a package that pkg-config knows."""
    question = ["pkg-config", f"--variable={name}", package]
    return subprocess.run(question, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def copy_headers(folder: Path) -> None:
    """Make a folder with the headers of Xen, and no others."""
    include = Path(told("includedir", "xenlight"))
    folder.mkdir(parents=True)
    for header in (*include.glob("libxl*.h"), *include.glob("_libxl*.h"), *include.glob("xen*.h")):
        shutil.copy(header, folder)
    shutil.copytree(include / "xen", folder / "xen")


@pytest.fixture
def another_xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another Xen in a folder of its own, which pkg-config finds first: release 98.1, with one more function."""
    folder = tmp_path / "xen98"
    copy_headers(folder / "include")
    libxl = folder / "include" / "libxl.h"
    pause = "int libxl_domain_pause("
    assert pause in libxl.read_text()
    libxl.write_text(libxl.read_text().replace(pause, f"int libxl_of_98(libxl_ctx *ctx);\n{pause}"))
    for name in linking.PACKAGES:
        installed = Path(told("pcfiledir", name)) / f"{name}.pc"
        text = installed.read_text()
        for variable, value in (("prefix", folder), ("includedir", folder / "include"), ("libdir", folder / "lib")):
            text = re.sub(rf"^{variable}=.*$", f"{variable}={value}", text, flags=re.MULTILINE)
        (folder / f"{name}.pc").write_text(re.sub(r"^Version:.*$", "Version: 98.1.2", text, flags=re.MULTILINE))
    monkeypatch.setenv("PKG_CONFIG_PATH", str(folder))
    return folder


def test_another_xen_is_taken_whole(another_xen: Path) -> None:
    assert headers.xen_release() == "98.1"
    assert "libxl_of_98" in xenlight.selection().functions
    extension = xenlight.ffibuilder().distutils_extension(str(another_xen / "build"), verbose=False)
    assert extension.name.endswith("._xenlight_98_1")
    assert f"-I{another_xen / 'include'}" in extension.extra_compile_args
    assert set(extension.extra_link_args) == {f"-L{another_xen / 'lib'}"}
    assert {"xenlight", "xlutil", "xenctrl", "xenstore", "xentoollog", "xenhypfs"} == set(extension.libraries)


def test_half_of_the_packages_is_not_enough(another_xen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKG_CONFIG_LIBDIR", str(another_xen))
    (another_xen / "xlutil.pc").unlink()
    with pytest.raises(linking.LinkFailed, match="xlutil"):
        xenlight.ffibuilder()


def test_libxl_finds_what_the_worker_has_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the packager's flags, and in a folder whose name is two words."""
    folder = tmp_path / "two words"
    folder.mkdir()
    monkeypatch.setenv("CFLAGS", "-fvisibility=hidden -DWORDS='\"two words\"'")
    built = program.build(folder)
    symbols = ["readelf", "-W", "--dyn-syms", str(built)]
    seen = subprocess.run(symbols, check=True, capture_output=True, text=True, timeout=60).stdout
    defined = {line.split()[-1] for line in seen.splitlines() if " GLOBAL DEFAULT " in line and " UND " not in line}
    assert {"libxl_name_to_domid", "xs_watch"} <= defined


def test_the_worker_finds_libraries_where_pythons_own_extensions_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = "gcc -shared -Wl,-rpath,/opt/one -Wl,-rpath -Wl,/opt/two -Wl,-rpath=/opt/three -Wl,-R/opt/four -Wl,-z,now"
    monkeypatch.setattr("sysconfig.get_config_var", {"LDSHARED": links}.get)
    built = program.build(tmp_path)
    dynamic = ["readelf", "-dW", str(built)]
    seen = subprocess.run(dynamic, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "[/opt/one:/opt/two:/opt/three:/opt/four]" in seen


# What was compiled before


def copy_sources(folder: Path) -> Path:
    """Make a folder with the sources, without what is compiled, and return it."""
    source = folder / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("*.so", "pyxen-worker-*", "*.egg-info", "__pycache__")
    for name in ("src", "cffi_build"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    return source


@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_what_was_compiled_before_is_taken(tmp_path: Path, kind: str) -> None:
    source, compiled, out = copy_sources(tmp_path), tmp_path / "compiled", tmp_path / "out"
    compiled.mkdir()
    (compiled / "_xenlight_98_1.abi3.so").write_bytes(b"a module")
    (compiled / "pyxen-worker-98.1").write_bytes(b"a program")
    (compiled / "pyxen-worker-98.1").chmod(0o644)  # an archive has lost its right to run
    build = f"import setuptools.build_meta as backend; backend.build_{kind}({str(out)!r})"
    environment = {**os.environ, "PYXEN_XENLIGHT": str(compiled)}
    command = [sys.executable, "-c", build]
    done = subprocess.run(
        command, cwd=source, check=False, capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    folder = "pyxen/backends/xenlight/libxl"
    if kind == "editable":
        found = source / "src" / folder
        assert (found / "_xenlight_98_1.abi3.so").read_bytes() == b"a module"
        assert os.access(found / "pyxen-worker-98.1", os.X_OK)
        return
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"{folder}/_xenlight_98_1.abi3.so") == b"a module"
        assert archive.getinfo(f"{folder}/pyxen-worker-98.1").external_attr >> 16 & 0o111 == 0o111


# pip keeps the wheel that it built without headers


class Pip:
    """pip with a cache of its own and an index that has pyxen's source distribution."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        source = copy_sources(folder)
        index = folder / "simple" / "pyxen"
        index.mkdir(parents=True)
        build = f"import setuptools.build_meta as backend; backend.build_sdist({str(index)!r})"
        environment = {**os.environ, "PYXEN_XENLIGHT": "skip"}
        subprocess.run(
            [sys.executable, "-c", build], cwd=source, check=True, capture_output=True, env=environment, timeout=600
        )
        (sdist,) = index.glob("*.tar.gz")
        (index / "index.html").write_text(f'<a href="{sdist.name}">{sdist.name}</a>')

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line that begins with PYXEN_XENLIGHT=… pip install, on a machine without Xen's headers."""
        setting, program, verb, *arguments = shlex.split(command)
        assert (program, verb) == ("pip", "install")
        name, value = setting.split("=")
        environment = {key: text for key, text in os.environ.items() if not key.startswith(("PIP_", "PKG_CONFIG"))}
        environment |= {
            name: value,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CACHE_DIR": str(self._folder / "cache"),
            "PKG_CONFIG_LIBDIR": str(self._folder / "nothing"),
        }
        here = ["--no-build-isolation", "--target", str(self._folder / "installed"), "--upgrade",
                "--disable-pip-version-check", "--index-url", (self._folder / "simple").as_uri()]  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "pip", "install", *arguments, *here],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def test_the_remedy_makes_pip_build_and_not_take_what_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip(tmp_path)
    first = pip.run("PYXEN_XENLIGHT=auto pip install --no-deps pyxen")
    assert first.returncode == 0, first.stderr
    # The trap: to require the extension changes nothing, since pip does not ask.
    kept = pip.run("PYXEN_XENLIGHT=require pip install --force-reinstall --no-deps pyxen")
    assert kept.returncode == 0, kept.stderr
    monkeypatch.setattr(loader, "built_releases", list)
    with pytest.raises(BindingNotBuilt) as caught:
        loader.load()
    remedy = str(caught.value).rpartition(": ")[2]
    built = pip.run(remedy)
    assert built.returncode != 0
    assert "PYXEN_XENLIGHT=require, but pkg-config does not know Xen's libraries" in built.stdout + built.stderr
    readme = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if "PYXEN_XENLIGHT=require pip" in line
    )
    built = pip.run(readme.split("`")[-2] + " --no-deps")
    assert built.returncode != 0


# Another C library

SOURCES = sorted((ROOT / "cffi_build").glob("*.c"))


def with_musl(source: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Let a compiler for musl look at a source, with the headers of Xen and libuuid beside musl's own."""
    headers_of_others = folder / "include"
    copy_headers(headers_of_others)
    shutil.copytree(Path(told("includedir", "uuid")) / "uuid", headers_of_others / "uuid")
    look = ["musl-gcc", "-Wall", "-Werror", "-fsyntax-only", f"-isystem{headers_of_others}", *options, str(source)]
    return subprocess.run(look, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_c_code_suits_musl(source: Path, tmp_path: Path) -> None:
    done = with_musl(source, tmp_path, "-DPYXEN_UCONTEXT")
    assert done.returncode == 0, done.stderr


def test_with_musl_the_compiler_says_what_is_missing(tmp_path: Path) -> None:
    done = with_musl(ROOT / "cffi_build" / "worker.c", tmp_path)
    assert done.returncode != 0
    assert "install libucontext, and build with CFLAGS=-DPYXEN_UCONTEXT" in done.stderr
