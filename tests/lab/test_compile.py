"""What is compiled at native speed in the build root runs in dom0."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import BuildFailed, buildroot, releases
from tools.release import PLATFORM

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab

PROGRAM = """
#include <stdio.h>
#include <libxl.h>
int main(void)
{
    libxl_ctx *ctx;
    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger))
        return 1;
    const libxl_version_info *version = libxl_get_version_info(ctx);
    printf("%d.%d\\n", version->xen_version_major, version->xen_version_minor);
    return 0;
}
"""
GO_PROGRAM = """
package main

import (
    "fmt"

    "example.org/xen/version"
)

func main() { fmt.Println(version.Running()) }
"""
GO_MODULE = """
package version

/*
#cgo LDFLAGS: -lxenlight -lxentoollog
#include <libxl.h>
static const libxl_version_info *running(void)
{
    libxl_ctx *ctx;
    xentoollog_logger *logger = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
    return libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, logger) ? NULL : libxl_get_version_info(ctx);
}
*/
import "C"
import "fmt"

func Running() string {
    info := C.running()
    return fmt.Sprintf("%d.%d", int(info.xen_version_major), int(info.xen_version_minor))
}
"""


def test_a_c_program_talks_to_the_running_xen(any_dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "version.c").write_text(PROGRAM)
    buildroot.compile_c(any_dom0.release, tmp_path / "version.c", tmp_path / "version", ["-lxenlight", "-lxentoollog"])
    any_dom0.put(tmp_path / "version", "/srv/version")
    assert any_dom0.run(["/srv/version"], check=True).stdout == f"{any_dom0.release.xen}\n"


def test_a_c_program_that_is_wrong_shows_the_compilers_words(any_dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "wrong.c").write_text("int main(void) { return nonsense; }")
    with pytest.raises(BuildFailed, match="nonsense"):
        buildroot.compile_c(any_dom0.release, tmp_path / "wrong.c", tmp_path / "wrong", [])


@pytest.mark.long  # Go's compiler is unpacked, which only a benchmark needs
def test_a_go_program_with_a_module_talks_to_the_running_xen(any_dom0: Lab, tmp_path: Path) -> None:
    module, source = tmp_path / "module", tmp_path / "version.go"
    module.mkdir()
    (module / "go.mod").write_text("module example.org/xen/version\n\ngo 1.11\n")
    (module / "version.go").write_text(GO_MODULE)
    source.write_text(GO_PROGRAM)
    buildroot.compile_go(any_dom0.release, source, tmp_path / "version", {"example.org/xen/version": module})
    any_dom0.put(tmp_path / "version", "/srv/version")
    assert any_dom0.run(["/srv/version"], check=True).stdout == f"{any_dom0.release.xen}\n"
    source.write_text(GO_PROGRAM.replace("Running", "Nonsense"))
    with pytest.raises(BuildFailed, match=r"undefined: version\.Nonsense"):
        buildroot.compile_go(any_dom0.release, source, tmp_path / "version", {"example.org/xen/version": module})


@pytest.mark.parametrize("release", releases.RELEASES, ids=lambda release: release.xen)
def test_what_is_compiled_needs_no_newer_c_library_than_a_wheel_says(release: releases.Release) -> None:
    folder = buildroot.extension(release)
    assert folder is not None
    promised = tuple(map(int, re.findall(r"_(\d+)", PLATFORM)[:2]))
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) == 2  # the extension, and the worker's program
    for path in files:
        symbols = subprocess.run(["objdump", "-T", path], check=True, capture_output=True, text=True, timeout=60).stdout
        needed = {(int(major), int(minor)) for major, minor in re.findall(r"\(GLIBC_(\d+)\.(\d+)", symbols)}
        assert needed
        assert max(needed) <= promised, path.name


def test_the_extension_loads(any_dom0: Lab) -> None:
    folder = buildroot.extension(any_dom0.release)
    assert folder is not None
    (module,) = folder.glob("*.so")
    name = module.name.partition(".")[0]
    script = (
        f"import importlib; print(importlib.import_module('pyxen.backends.xenlight.libxl.{name}').lib.libxl_ctx_alloc)"
    )
    assert "libxl_ctx_alloc" in any_dom0.run(["python3", "-c", script], check=True).stdout
