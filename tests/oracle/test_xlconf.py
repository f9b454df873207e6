"""What the settings of xl itself (xl.conf) mean, against the real xl."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen import CpuSet, DomainConfig, XlConf, libxljson, xlcfg
from pyxen.cli.app import app
from pyxen.errors import InvalidArgument, ParseError
from pyxen.testing import FakeHost
from tests.oracle.compare import NODES, seen
from tests.oracle.server import Refused
from tests.oracle.xl import HOST_CPUS, HOST_NODES, XlOracle

CONFIGS = {
    "bare": 'name="web"\nkernel="/kernel"\ntype="pvh"\nuuid="00000000-0000-0000-0000-000000000001"\nvcpus=1\n',
    "vifs": "vif=['mac=00:16:3e:00:00:01', 'mac=00:16:3e:00:00:02,bridge=br7,script=vif-route', "
    "'mac=00:16:3e:00:00:03,backend=net,gatewaydev=eth7']\n",
    "pinned": 'vcpus=2\ncpus="2-5"\n',
    "each": 'vcpus=2\ncpus=["2-40", "all"]\n',
    "nodes": 'cpus="nodes:1"\nvcpus=3\n',
    "grants": "max_grant_frames=9\nmax_maptrack_frames=10\nmax_grant_version=1\n",
}
"""What a configuration has besides a name and so on."""

SETTINGS = [
    "claim_mode=0",
    "claim_mode=1",
    "claim_mode=7",
    'claim_mode="no"',
    "run_hotplug_scripts=0",
    "run_hotplug_scripts=1",
    'vif.default.script="vif-openvswitch"',
    'vif.default.bridge="br0"',
    'vif.default.gatewaydev="eth0"',
    'vif.default.backend="driver"',
    'vif.default.script="a"\nvif.default.bridge="b"\nvif.default.gatewaydev="c"\nvif.default.backend="d"',
    'vifscript="old"',
    'vif.default.script="new"\nvifscript="old"',
    'defaultbridge="old"',
    'defaultbridge="old"\nvif.default.bridge="new"',
    'vif.default.bridge=""',
    "max_grant_frames=128",
    "max_maptrack_frames=0x200",
    "max_grant_version=1",
    'blkdev_start="xvdq"',
    'vm.cpumask="0-7"',
    'vm.cpumask="0-3,^2"\nvm.hvm.cpumask="2-5"\nvm.pv.cpumask="9"',
    'vm.pv.cpumask="3"',
    'vm.hvm.cpumask="3"',
    'vm.cpumask="nodes:0"',
    'vm.cpumask="all"',
    'output_format="json"',
    'lockfile="/run/xl.lock"',
    'autoballoon="off"\nautoballoon="on"',
    "autoballoon=1",
    'autoballoon="maybe"',
    'domid_policy="xen"',
    'remus.default.netbufscript="r"\ncolo.default.proxyscript="c"',
    "nosuch=1\nvif.default.bridge=[1, 2]",
]


def answer(xl: XlOracle, text: str, conf: str) -> DomainConfig | Refused:
    """Return what xl makes of a configuration by these settings."""
    found = xl.create(text, f"{conf}\n")
    return found if isinstance(found, Refused) else libxljson.from_dict(found)


def ours(text: str, conf: str) -> DomainConfig:
    """Return the same by pyxen."""
    config = xlcfg.loads(text, on_loss="ignore")
    applied = XlConf.loads(f"{conf}\n", on_loss="ignore").applied(config, range(HOST_CPUS), NODES)
    return seen(applied)


@pytest.mark.parametrize("type", ["pvh", "pv", "hvm"])
@pytest.mark.parametrize("settings", CONFIGS)
def test_what_xl_makes_of_a_configuration(xl: XlOracle, type: str, settings: str) -> None:  # noqa: A002 (as the key)
    text = CONFIGS["bare"].replace("pvh", type) + (CONFIGS[settings] if settings != "bare" else "")
    if type == "hvm":
        text = text.replace('kernel="/kernel"\n', "")
    differing = []
    for conf in SETTINGS:
        theirs = answer(xl, text, conf)
        if isinstance(theirs, Refused):
            with pytest.raises(InvalidArgument, match=r"xl\.conf leaves none of these CPUs"):
                ours(text, conf)
        else:
            found = ours(text, conf)
            same = theirs if theirs.run_hotplug_scripts is False else theirs.replace(run_hotplug_scripts=None)
            if found != same:
                differing.append(f"{conf}\nxl:    {same!r}\npyxen: {found!r}")
    assert not differing, "\n".join(differing)


@pytest.mark.parametrize("conf", ["max_grant_frames=-1", 'max_grant_frames="many"', "max_maptrack_frames=[1]", "a b"])
def test_what_xl_refuses(xl: XlOracle, conf: str) -> None:
    assert isinstance(xl.create(CONFIGS["bare"], f"{conf}\n"), Refused)
    with pytest.raises(ParseError) as caught:
        XlConf.loads(f"{conf}\n")
    assert caught.value.line == 1


def test_bootloaders_with_few_rights(xl: XlOracle) -> None:
    for value, known in (("1", True), ("0", False)):
        found = xl.create(CONFIGS["bare"], f"bootloader_restrict={value}\n")
        assert isinstance(found, dict)
        theirs = found["b_info"].get("bootloader_restrict")
        assert theirs == (None if xl.release == "4.17" else str(known))
        assert XlConf.loads(f"bootloader_restrict={value}").bootloader_restrict is known


def test_a_mask_holds_without_vcpus_too(xl: XlOracle) -> None:
    """xl.conf(5) says so, but xl looks at the number of vCPUs before libxl has chosen it, and pins none."""
    text = CONFIGS["bare"].replace("vcpus=1\n", "")
    theirs = answer(xl, text, 'vm.cpumask="0-7"')
    assert isinstance(theirs, DomainConfig)
    assert theirs.cpus is None
    assert ours(text, 'vm.cpumask="0-7"').cpus == CpuSet("0-7")


@pytest.mark.filterwarnings("ignore::pyxen.LossWarning")
def test_a_dry_run_prints_what_xl_prints(xl: XlOracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CONFIGS["bare"] + CONFIGS["vifs"]
    file, conf = tmp_path / "web.cfg", tmp_path / "xl.conf"
    file.write_text(text)
    monkeypatch.setenv("PYXEN_XL_CONF", str(conf))
    with FakeHost(cpus=HOST_CPUS, nodes=HOST_NODES) as host, host.standing_in():
        for setting in SETTINGS:
            conf.write_text(f"{setting}\n")
            theirs = answer(xl, text, setting)
            result = CliRunner().invoke(app, ["create", "-n", str(file)])
            assert isinstance(theirs, DomainConfig)
            assert result.exit_code == 0, (setting, result.output)
            same = theirs if theirs.run_hotplug_scripts is False else theirs.replace(run_hotplug_scripts=None)
            assert seen(libxljson.loads(result.stdout)) == same, setting
