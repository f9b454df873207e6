"""Where pyxen differs from xl on purpose: that it does, and that it does so in the way that is written down."""

from __future__ import annotations

import pytest

from pyxen import libxljson, xlcfg
from pyxen.errors import ConfigError
from pyxen.xlcfg.deviations import DEVIATIONS, Deviation
from pyxen.xlcfg.keys import release
from tests.oracle.compare import NODES
from tests.oracle.server import Refused
from tests.oracle.xl import HOST_CPUS, XlOracle


def ours(text: str) -> dict[str, object] | ConfigError:
    """Return what pyxen makes of a configuration, as libxl's JSON on the oracle's host."""
    try:
        config = xlcfg.loads(text, on_loss="ignore").resolve_cpus(range(HOST_CPUS), NODES)
    except ConfigError as error:
        return error
    return libxljson.to_dict(config, on_loss="ignore")


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.name)
def test_deviation(xl: XlOracle, deviation: Deviation) -> None:
    head = {"name": '"x"', "uuid": '"6f6d2c2e-8b3a-4f7e-9f0e-0c8f4b1f2a3d"', "type": '"pv"', "kernel": '"/k"'}
    if "firmware" in deviation.example:
        del head["kernel"]
    given = {line.partition(" ")[0] for line in deviation.example.splitlines()}
    text = "".join(f"{key} = {value}\n" for key, value in head.items() if key not in given) + deviation.example + "\n"
    theirs, mine = xl.create(text), ours(text)
    if release(xl.release) < release(deviation.since):
        assert isinstance(theirs, Refused)
        return
    if deviation.outcome == "refused":
        assert isinstance(theirs, dict)
        assert isinstance(mine, ConfigError)
    elif deviation.outcome == "taken":
        assert isinstance(theirs, Refused)
        assert isinstance(mine, dict)
    else:
        assert isinstance(theirs, dict)
        assert isinstance(mine, dict)
        if deviation.name != "what xl.conf says":
            theirs["c_info"].pop("run_hotplug_scripts")
            theirs["b_info"].pop("claim_mode")
        assert libxljson.from_dict(theirs, on_loss="ignore") != libxljson.from_dict(mine, on_loss="ignore")
