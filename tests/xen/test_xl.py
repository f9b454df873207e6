"""The real xl on the real host is asked what configurations mean, one for a key: a check of tests/oracle's xl.

That asks far more, off any host: all keys with all values, for each type of guest. Here `make test-long` asks for each
key, others for some. What depends on the number of CPUs is asked only
there.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from pyxen import Host
from tests.oracle import compare, configs
from tests.oracle.server import Refused
from tests.xen.support import LONG

OF_THE_CPUS = {"cpus", "cpus_soft", "vnuma"}


class XlHere:
    """xl in dom0, with the face of `tests.oracle.xl.XlOracle`."""

    def __init__(self, release: str, folder: Path) -> None:
        self.release = release
        self._file = folder / "guest.cfg"

    def create(self, text: str) -> dict[str, Any] | Refused:
        """Return what ``xl -N create`` prints."""
        self._file.write_text(text)
        done = subprocess.run(
            ["xl", "-N", "create", str(self._file)], capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode != 0:
            return Refused(done.returncode, done.stderr)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def test_keys_mean_what_they_mean_to_xl(host: Host, tmp_path: Path) -> None:
    version = re.match(r"\d+\.\d+", host.info().xen_version)
    assert version is not None
    xl = XlHere(version[0], tmp_path)
    keys = [key for key in configs.keys(xl.release) if key not in OF_THE_CPUS]
    texts = [
        f"{configs.base(guest, without=key)}{key} = {configs.values(key)[0]}\n"
        for key, guest in zip(keys, itertools.cycle(["pv", "pvh", "hvm"]), strict=False)
    ]
    assert len(texts) > 140
    some = texts if LONG else texts[::5]  # of each type of guest
    differences = [compare.difference(xl, text) for text in some]
    assert [found for found in differences if found is not None] == []
