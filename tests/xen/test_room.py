"""Memory that dom0 gives up for a new domain, on real Xen, as for xl."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import Host, NotEnoughMemory, xlcfg
from tests.xen.support import MakeConfig, xl

XL_CONF = Path("/etc/xen/xl.conf")


@pytest.fixture
def _dom0(host: Host) -> Iterator[None]:
    """Give dom0 its memory back afterwards."""
    dom0 = host.domains[0]
    before = dom0.info().memory_kib
    dom0.set_memory(memory_kib=before)
    yield
    dom0.set_memory(memory_kib=before)
    dom0.wait_memory(timeout=120)


@pytest.fixture
def balloons() -> Iterator[None]:
    """Have xl take memory from dom0."""
    before = XL_CONF.read_text()
    XL_CONF.write_text('autoballoon="on"\n')
    yield
    XL_CONF.write_text(before)


@pytest.mark.usefixtures("_dom0", "balloons")
def test_dom0_gives_up_as_much_as_for_xl(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    dom0 = host.domains[0]
    before = dom0.info().memory_kib
    config = tiny("pvh", memory=host.info().free_memory_kib // 1024 + 64)
    with pytest.raises(NotEnoughMemory, match="MiB free"):
        host.create(config)  # dom0_mem is on the command line
    assert dom0.info().memory_kib == before

    web = host.create(config, autoballoon=True, timeout=300)
    ours = dom0.memory()
    assert web.info().memory_kib >= (config.memory or 0) * 1024
    assert ours.is_at_target
    assert before - 96 * 1024 < ours.current_kib <= before - 64 * 1024
    web.destroy()
    dom0.set_memory(memory_kib=before)
    dom0.wait_memory(timeout=120)

    path = tmp_path / "web.cfg"
    path.write_text(xlcfg.dumps(config))
    subprocess.run(["xl", "create", str(path)], check=True, timeout=300)
    theirs = dom0.memory()
    xl("destroy", config.name)
    assert abs((theirs.target_kib or 0) - (ours.target_kib or 0)) <= 4 * 1024


@pytest.mark.usefixtures("_dom0")
def test_a_domain_that_is_too_large_leaves_dom0_alone(host: Host, tiny: MakeConfig) -> None:
    dom0 = host.domains[0]
    before = dom0.memory().target_kib
    with pytest.raises(NotEnoughMemory, match="dom0 cannot give up so much, it keeps 128 MiB"):
        host.create(tiny("pvh", memory=host.info().memory_kib // 1024), autoballoon=True)
    assert dom0.memory().target_kib == before
