"""What is compiled at native speed in the build root runs in dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import BuildFailed, buildroot

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


def test_a_c_program_talks_to_the_running_xen(any_dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "version.c").write_text(PROGRAM)
    buildroot.compile_c(any_dom0.release, tmp_path / "version.c", tmp_path / "version", ["-lxenlight", "-lxentoollog"])
    any_dom0.put(tmp_path / "version", "/srv/version")
    assert any_dom0.run(["/srv/version"], check=True).stdout == f"{any_dom0.release.xen}\n"


def test_a_c_program_that_is_wrong_shows_the_compilers_words(any_dom0: Lab, tmp_path: Path) -> None:
    (tmp_path / "wrong.c").write_text("int main(void) { return nonsense; }")
    with pytest.raises(BuildFailed, match="nonsense"):
        buildroot.compile_c(any_dom0.release, tmp_path / "wrong.c", tmp_path / "wrong", [])


def test_the_extension_loads(any_dom0: Lab) -> None:
    folder = buildroot.extension(any_dom0.release)
    assert folder is not None
    (module,) = folder.glob("*.so")
    name = module.name.partition(".")[0]
    script = (
        f"import importlib; print(importlib.import_module('pyxen.backends.xenlight.libxl.{name}').lib.libxl_ctx_alloc)"
    )
    assert "libxl_ctx_alloc" in any_dom0.run(["python3", "-c", script], check=True).stdout
