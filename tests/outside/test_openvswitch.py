"""A guest at a bridge of Open vSwitch, which is Debian's, unpacked into dom0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import Lab
from tests.outside.packages import UNPACK_SECONDS, put_packages

GUEST_SECONDS = 1200.0
MODULES = "usr/lib/modules"


def wanted(tree: Path) -> list[str | Path]:
    """Return what of the packages is wanted: of the kernel's, its modules of networks and what they need."""
    modules = [
        *tree.glob(f"{MODULES}/*/modules.*"),
        *tree.glob(f"{MODULES}/*/kernel/net"),
        *tree.glob(f"{MODULES}/*/kernel/lib"),
    ]
    others = [path for path in (tree / "usr").iterdir() if path.name != "lib"]
    libraries = [path for path in (tree / "usr/lib").iterdir() if path.name != "modules"]
    return ["-C", tree, "etc", *(path.relative_to(tree) for path in (*modules, *others, *libraries))]


@pytest.mark.long
@pytest.mark.timeout(UNPACK_SECONDS + 2 * GUEST_SECONDS)
def test_a_guest_at_a_switch() -> None:
    with Lab() as dom0:
        kernel = dom0.run(["uname", "-r"], check=True, timeout=60).stdout.strip()
        put_packages(dom0, "openvswitch", ["openvswitch-switch", f"linux-image-{kernel}"], wanted, MODULES)
        done = dom0.run(["python3", "-m", "tests.outside.switching"], timeout=GUEST_SECONDS)
        assert done.status == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    (bridge,) = (each for each in told["bridges"] if each["name"] == "ovsbr0")
    (port,) = bridge["ports"]
    assert bridge["kind"] == "openvswitch"
    assert port["domid"] is not None
    assert told["vifs"] == [[port["name"], "ovsbr0", "connected"]]
    assert told["pinged"]
    assert told["tag"] == "7"
    assert "nosuch0" in told["refused"]
    assert told["ports"] == [port["name"]]
    assert told["left"] == []
