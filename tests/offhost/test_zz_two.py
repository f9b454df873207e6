from __future__ import annotations
import errno, time, os
from pathlib import Path
import pytest, pyxen
from pyxen.errors import Error
from tests.offhost.host import until

@pytest.mark.parametrize("nth", range(1, 9))
def test_half(offhost, host, config, nth):
    web = host.create(config())
    web.rename("shop")
    with offhost.world.recording() as calls:
        with offhost.world.failing("xenstore.send", errno.EIO, nth=nth, times=1):
            begun = time.monotonic()
            try: web.rename("web"); r = "ok"
            except Error as e: r = repr(e)[:200]
            t1 = time.monotonic() - begun
            rs = []
            for i in range(3):
                b = time.monotonic()
                try: web.rename("shop%d" % i); rs.append(("ok", round(time.monotonic() - b, 1)))
                except Error as e: rs.append((repr(e)[:120], round(time.monotonic() - b, 1)))
    Path("/tmp/half.log").open("a").write(f"{offhost.release.name} {nth} {r} {t1:.1f} {rs} {[c for c in calls if c.error]} me {os.getpid()}\n")
