"""Pools and clones as xl sees them, and what a killed process leaves of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from pyxen import Disk, Host, Vif
from tests.xen.support import MakeConfig, xl, xl_domids

_OPEN = """
import sys, time, pyxen
from pyxen import DomainConfig
with pyxen.connect() as host:
    config = DomainConfig("web", type="pvh", kernel="/usr/share/pyxen-guests/tiny-pvh", memory=8)
    with host.pool(config, size=2) as pool:
        pool.take("taken", paused=True)
        pool.wait()
        print("now", flush=True)
        time.sleep(600)
"""


def test_the_process_of_a_pool_is_killed(host: Host, tiny: MakeConfig) -> None:
    process = subprocess.Popen([sys.executable, "-c", _OPEN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    left = {name for name in xl_domids() if "--ready-" in name}
    assert len(left) == 2
    assert host.orphans() == ()  # its process lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert {orphan.info().name for orphan in host.orphans()} == left
    with host.pool(tiny("pvh", name="other"), size=1, timeout=120) as pool:
        assert left.isdisjoint(xl_domids())
        assert "taken" in xl_domids()  # which was handed out
        assert pool.ready == 1
    assert host.orphans() == ()
    assert set(xl_domids()) == {"Domain-0", "taken"}
    host.domains["taken"].destroy()


def test_what_xl_says_of_a_guest_that_was_taken(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    image = tmp_path / "data.img"
    image.write_bytes(bytes(1 << 20))
    template = tiny("pvh", name="web", memory=16, maxmem=24, vifs=[Vif(bridge="xenbr0")])
    with host.pool(template, size=1, timeout=120) as pool:
        (ready,) = (name for name in xl_domids() if "--ready-" in name)
        web = pool.take("web1", disks=[Disk(str(image), vdev="xvdb")], memory=20)
        said = json.loads(xl("list", "-l", "web1"))[0]
        known = said["config"]["c_info"]
        assert (said["domid"], known["name"], known["uuid"]) == (web.domid, "web1", str(web.uuid))
        macs = [nic["mac"] for nic in said["config"]["nics"]]
        assert macs == [vif.mac for vif in web.config().vifs]
        assert [disk["vdev"] for disk in said["config"]["disks"]] == ["xvdb"]
        assert xl("domid", "web1").strip() == str(web.domid)
        assert xl("domname", str(web.domid)).strip() == "web1"
    listing = subprocess.run(["xenstore-ls", "-f"], check=True, capture_output=True, text=True, timeout=120).stdout
    old = [line for line in listing.splitlines() if ready in line]
    assert old == [], "it still bears its old name somewhere"
    web.destroy()
