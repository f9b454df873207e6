"""In dom0: a guest whose vif is a port of Open vSwitch. Prints what pyxen and ovs-vsctl tell as a line of JSON.

``python3 -m tests.outside.switching``. The packages are unpacked, and nothing has set them up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pyxen
from pyxen import Domain, OperationFailed, Vif
from tests.backends.hosts import boot
from tests.outside.guests import LINUX

BRIDGE = "ovsbr0"
SCRIPT = "vif-openvswitch"
OURS, ITS = "192.168.99.1", "192.168.99.2"
MAC, OTHER = "00:16:3e:00:00:05", "00:16:3e:00:00:06"
SECONDS = 60.0

GUEST = LINUX.replace(vifs=[Vif(bridge=BRIDGE, script=SCRIPT, mac=MAC)])

SWITCH = f"""
depmod -a && modprobe openvswitch
test -x /usr/sbin/ovs-vswitchd || ln -s /usr/lib/openvswitch-switch/ovs-vswitchd /usr/sbin/
/usr/share/openvswitch/scripts/ovs-ctl start --system-id=random --no-ovs-vswitchd
ovs-vswitchd --pidfile --detach --log-file
ovs-vsctl --timeout=60 add-br {BRIDGE}
ip link set {BRIDGE} up
ip addr add {OURS}/24 dev {BRIDGE}
"""


def main() -> int:
    """Have a switch and a guest at it."""
    subprocess.run(["sh", "-euc", SWITCH], check=True, stdout=sys.stderr, timeout=5 * SECONDS)
    with pyxen.connect() as host:
        guest = boot(host, GUEST)
        told = {"bridges": [bridge.to_dict() for bridge in pyxen.bridges.bridges()], "pinged": pinged(guest)}
        told["vifs"] = [(str(vif.interface), str(vif.bridge), vif.backend_state) for vif in guest.vifs]
        guest.attach(Vif(bridge=f"{BRIDGE}.7", script=SCRIPT, mac=OTHER))
        told["tag"] = vsctl("get", "port", f"vif{guest.domid}.1", "tag")
        guest.detach(OTHER)
        try:
            guest.attach(Vif(bridge="nosuch0", script=SCRIPT))
        except OperationFailed as error:
            told["refused"] = str(error)
        told["ports"] = vsctl("list-ports", BRIDGE).split()
        guest.destroy()
        told["left"] = vsctl("list-ports", BRIDGE).split()
    print(json.dumps(told, default=str))
    return 0


def pinged(guest: Domain) -> bool:
    """Tell whether the guest reaches the bridge's address."""
    with guest.console_stream(timeout=5 * SECONDS) as console:
        console.write(f"ifconfig eth0 {ITS} up; ping -c 2 -w 60 {OURS} >/dev/null && echo reach''ed || echo fail''ed\r")
        said = next(line for line in console if line.strip() in {"reached", "failed"})
    return said.strip() == "reached"


def vsctl(*words: str) -> str:
    """Return what ovs-vsctl says, once it has seen what happened."""
    time.sleep(1)
    done = subprocess.run(
        ["ovs-vsctl", "--timeout=60", *words], check=True, capture_output=True, text=True, timeout=2 * SECONDS
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
