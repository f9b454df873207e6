"""A guest at a bridge of Open vSwitch, which is Debian's, unpacked into dom0."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lab import Lab, apt
from tests.oracle import debian

UNPACK_SECONDS = 1500.0
GUEST_SECONDS = 1200.0
MODULES = "usr/lib/modules"


def packed(suite: str, kernel: str, folder: Path) -> Path:
    """Return an archive of the switch and of its modules for dom0's kernel, fetched unless that was done."""
    packages = ["openvswitch-switch", f"linux-image-{kernel}"]
    recipe = hashlib.sha256(" ".join([suite, *packages, MODULES]).encode()).hexdigest()

    def make(content: Path) -> None:
        tree = folder / "tree"
        apt.unpack(suite, packages, tree, folder / "mmdebstrap.log")
        modules = [path.relative_to(tree) for path in tree.glob(f"{MODULES}/*/modules.*")]
        nets = [path.relative_to(tree) for name in ("net", "lib") for path in tree.glob(f"{MODULES}/*/kernel/{name}")]
        others = [path.relative_to(tree) for path in (tree / "usr").iterdir() if path.name != "lib"]
        libraries = [path.relative_to(tree) for path in (tree / "usr/lib").iterdir() if path.name != "modules"]
        words = map(str, (*modules, *nets, *others, *libraries, Path("etc")))
        debian.run("tar", "-czf", content / "switch.tgz", "-C", tree, *words)

    debian.set_up("openvswitch", recipe, make)
    return debian.cached("openvswitch", recipe) / "switch.tgz"


@pytest.mark.long
@pytest.mark.timeout(UNPACK_SECONDS + 2 * GUEST_SECONDS)
def test_a_guest_at_a_switch(tmp_path: Path) -> None:
    with Lab() as dom0:
        kernel = dom0.run(["uname", "-r"], check=True, timeout=60).stdout.strip()
        dom0.put(packed(dom0.release.suite, kernel, tmp_path), "/srv/switch.tgz")
        unpack = ["tar", "-C", "/", "--skip-old-files", "--keep-directory-symlink", "-xzf", "/srv/switch.tgz"]
        dom0.run(unpack, check=True, timeout=300)
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
