from __future__ import annotations
import errno, logging, threading, time
from queue import Queue, Empty
import pytest, pyxen
from pyxen import Brake, Supervisor
from tests.offhost.world import Reason, Kind, How

CASES = [(w, n) for w in ("any", "sweep") for n in range(1, 9)]

@pytest.mark.parametrize(("what", "nth"), CASES)
def test_try(offhost, host, config, what, nth, caplog):
    caplog.set_level(logging.DEBUG)
    told = Queue()
    supervisor = Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=0))
    host.create(config(name="first")).destroy()
    with supervisor:
        web = host.create(config(on_reboot="restart"))
        time.sleep(0.3)
        with offhost.world.recording() as calls:
            if what == "any":
                with offhost.world.failing("any", errno.EIO, nth=nth, times=1):
                    offhost.shut_down(web.domid, Reason.REBOOT)
                    time.sleep(1.5)
            else:
                with offhost.world.sweeping(Kind.REQUESTS | Kind.HYPERCALLS, nth, errno.EIO, How.FAIL) as swept:
                    offhost.shut_down(web.domid, Reason.REBOOT)
                    time.sleep(1.5)
                print("swept", swept)
        for c in calls[:12]: print(c)
        print([c for c in calls if c.error])
        import os
        print("me", os.getpid())
        try:
            o = told.get(timeout=5)
            print("OUT", o.error)
            bad = False
        except Empty:
            bad = True
        print(host.list())
        supervisor.stop()
    for i in host.list():
        if i.domid: host.domains[i.domid].destroy()
    assert not bad
