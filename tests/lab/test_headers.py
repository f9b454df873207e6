"""Every function of each release's headers is bound, or has a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import headers
from xenlight import OLD_CFFI_CANNOT

from lab import buildroot
from tests.unit.test_headers import CANNOT_BE_EXPRESSED, NOT_FOR_US, OLDER_API, functions_in

if TYPE_CHECKING:
    from lab import Lab

NAMES = """
from pyxen.backends.xenlight.libxl.binding import lib
print(*dir(lib))
"""


def test_every_function_is_bound_or_has_a_reason(any_dom0: Lab) -> None:
    folder = buildroot.ensure(any_dom0.release) / "usr/include"
    functions: dict[str, str] = {}
    for name in (*headers.LIBXL_HEADERS, "_libxl_types.h"):
        functions |= functions_in((folder / name).read_text())
    bound = set(any_dom0.run(["python3", "-c", NAMES], check=True).stdout.split())
    missing = {name for name in functions if name not in bound}
    older = {name for name in missing if OLDER_API.search(name)}
    assert len(functions) > 800
    # The build roots have Debian's cffi, which is older than 2.0.
    assert missing - older <= {*CANNOT_BE_EXPRESSED, *NOT_FOR_US, *OLD_CFFI_CANNOT}
    assert {"libxl_domain_create_new", "libxl_ao_abort", "xs_watch", "xlu_disk_parse", "xtl_log"} <= bound
