"""A host in memory does what Xen does: one script of probes, on both, and a list of what may differ."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyxen
from pyxen import Host
from tests.differential.comparing import complaints, simulated_world, world
from tests.differential.script import outcomes
from tests.xen.support import GUESTS


@pytest.mark.timeout(900)  # some 1,500 probes
@pytest.mark.long
def test_memory_does_what_xen_does(host: Host, folder: Path) -> None:
    info = host.info()
    release = ".".join(map(str, info.xen_version_info[:2]))
    here = world(host, folder, GUESTS)
    real = outcomes(here)
    options = f"files=here&bridges=xenbr0&memory={info.memory_kib // 1024}&cpus={info.nr_cpus}&xen={info.xen_version}"
    with pyxen.connect(f"memory:///?{options}") as simulated:
        found = complaints(real, outcomes(simulated_world(simulated, here)), release)
    assert not found, f"{len(found)} of {len(real)} probes:\n" + "\n".join(found)
