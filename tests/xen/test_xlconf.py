"""The settings of xl itself, on real Xen: the same file, the same domain."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig, Vif, XlConf, xlcfg
from tests.xen.support import MakeConfig, xl

XL_CONF = Path("/etc/xen/xl.conf")

SETTINGS = """
claim_mode=0
vif.default.bridge="xenbr0"
vif.default.script="vif-route"
max_grant_frames=48
max_maptrack_frames=256
vm.pv.cpumask="0"
"""


@pytest.fixture
def _settings() -> Iterator[None]:
    before = XL_CONF.read_text()
    XL_CONF.write_text(SETTINGS)
    yield
    XL_CONF.write_text(before)


def listed(name: str) -> dict[str, Any]:
    """Return what ``xl list -l`` says of a domain."""
    found: dict[str, Any] = json.loads(xl("list", "-l", name))[0]["config"]
    return found


def test_the_hosts_own_file() -> None:
    assert XlConf.load(on_loss="raise") == XlConf()


@pytest.mark.usefixtures("_settings")
def test_the_same_domain_as_xls(tiny: MakeConfig, tmp_path: Path) -> None:
    config: DomainConfig = tiny("pv", vcpus=1, vifs=[Vif(mac="00:16:3e:00:00:07", script="/bin/true")])
    path = tmp_path / "web.cfg"
    path.write_text(xlcfg.dumps(config))
    subprocess.run(["xl", "create", "-p", str(path)], check=True, timeout=120)
    theirs = listed(config.name)
    xl("destroy", config.name)
    with pyxen.connect(xl_conf=XL_CONF) as host:
        web = host.create(config, paused=True)
        ours = listed(config.name)
        web.destroy()
    assert ours["b_info"]["max_grant_frames"] == 48
    assert ours["b_info"]["claim_mode"] == "False"
    assert ours["nics"][0]["bridge"] == "xenbr0"
    for key in ("uuid", "domid"):  # of one domain
        theirs["c_info"].pop(key, None)
    # libxl has filled in more defaults here, because pyxen asks it how much memory the domain needs.
    pairs = [(ours[part], theirs[part]) for part in ("c_info", "b_info")] + [(ours["nics"][0], theirs["nics"][0])]
    for mine, xls in pairs:
        xls.pop("type.pv", None)
        assert {key: mine.get(key) for key in xls} == xls
