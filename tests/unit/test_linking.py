"""The extension is linked to the libxenlight whose headers it was compiled with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import linking
import pytest


def compiled(folder: Path, soname: str) -> Path:
    """Return a module that is linked to a library of that soname."""
    library, module = folder / "libxenlight.so", folder / "module.so"
    gcc = ["gcc", "-shared", "-fPIC", "-xc"]
    for source, output, flags in (
        ("int there(void) { return 0; }", library, [f"-Wl,-soname,{soname}"]),
        ("int there(void); int needed(void) { return there(); }", module, [f"-L{folder}", "-lxenlight"]),
    ):
        command = [*gcc, "-", "-o", str(output), *flags]
        subprocess.run(command, input=source, text=True, check=True, timeout=60)
    return module


@pytest.mark.parametrize("soname", ["libxenlight.so.4.22", "libxenlight.so.4.22.0"])
def test_the_same_release(tmp_path: Path, soname: str) -> None:
    module = compiled(tmp_path, soname)
    linking.check(module, "4.22")
    assert module.exists()


@pytest.mark.parametrize("soname", ["libxenlight.so.4.17", "libxenlight.so.4.2", "libxenlight.so"])
def test_another_release_is_refused_and_removed(tmp_path: Path, soname: str) -> None:
    module = compiled(tmp_path, soname)
    with pytest.raises(linking.LinkFailed, match=r"headers are of Xen 4\.22.*PKG_CONFIG_PATH"):
        linking.check(module, "4.22")
    assert not module.exists()


@pytest.mark.parametrize("other", ["libxlutil.so.4.17", "libxenctrl.so.4.17"])
def test_no_library_may_be_of_another_release(tmp_path: Path, other: str) -> None:
    libraries = [tmp_path / name for name in ("libxenlight.so.4.22", other, "libxenstore.so.4")]
    command = ["gcc", "-shared", "-Wl,--no-as-needed", "-xc", "/dev/null", "-xnone"]
    for library in libraries:
        subprocess.run([*command, f"-Wl,-soname,{library.name}", "-o", str(library)], check=True, timeout=60)
    module = tmp_path / "module.so"
    subprocess.run([*command, *map(str, libraries), "-o", str(module)], check=True, timeout=60)
    with pytest.raises(linking.LinkFailed, match=rf"headers are of Xen 4\.22, but the linker took {other}: let"):
        linking.check(module, "4.22")
    assert not module.exists()


def test_the_flags_are_those_of_the_installation_that_pkg_config_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in linking.PACKAGES:
        (tmp_path / f"{name}.pc").write_text(
            f"Name: {name}\nDescription: x\nVersion: 4.22.0\nCflags: -I/opt/xen/include\n"
            f"Libs: -L/opt/xen/lib -l{name}\n"
        )
    monkeypatch.setenv("PKG_CONFIG_PATH", str(tmp_path))
    assert linking.flags("--cflags") == ["-I/opt/xen/include"]
    assert "-L/opt/xen/lib" in linking.flags("--libs")


def test_an_installation_that_pkg_config_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKG_CONFIG_LIBDIR", str(tmp_path))
    monkeypatch.delenv("PKG_CONFIG_PATH", raising=False)
    with pytest.raises(linking.LinkFailed, match="does not know"):
        linking.flags("--libs")
