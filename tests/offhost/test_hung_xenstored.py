"""A xenstored that hangs for good: no verb waits for it without a bound."""

from __future__ import annotations

import signal
import time

import pytest

import pyxen
from pyxen.errors import ConnectFailed, Error, OperationCancelled
from tests.offhost.host import OffHost, children, until
from tests.offhost.sweep import VERBS, Configure, Sweep, bounded
from tests.offhost.test_kills import LASTING, works

QUIET = (
    *("pause", "unpause", "set_userdata", "userdata", "set_node_affinity", "topology", "orphans"),
    *("log", "follow_log", "set_parameters", "debug_keys", "update_config"),
)
"""Verbs that may need no answer of xenstored's."""

IN_THIS_PROCESS = ("unpause", "rename", "config", "attach a vif", "detach a disk", "create")
"""Verbs that are tried first: libxl waits in this process. The others are asked by ``make test-long``."""


CASES = [
    pytest.param(verb, workers, marks=() if verb in IN_THIS_PROCESS and workers == 0 else pytest.mark.long)
    for verb in LASTING
    for workers in (0, 1)
]
"""Verbs, each with a number of workers."""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("verb", "workers"), CASES)
def test_a_verb_ends(offhost: OffHost, config: Configure, verb: str, workers: int) -> None:
    sweep = Sweep(offhost, config, VERBS[verb], workers)
    with sweep.open():
        sweep.make()
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            found = bounded(lambda: VERBS[verb].act(sweep))()
            again = bounded(lambda: sweep.host.create(config(name="other"), timeout=2))()
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        assert not found.late, found.late
        assert isinstance(found.error, Error) or (verb in QUIET and found.error is None), found.error
        assert not again.late, again.late
        assert isinstance(again.error, Error)
        sweep.put_away()
        works(offhost, sweep.host, config(name="after"))


@pytest.mark.usefixtures("impatient")
def test_the_error_says_why(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    web.rename("shop")
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with pytest.raises(ConnectFailed, match="xenstored does not answer"):
            web.rename("web")
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert web.info().name in {"web", "shop"}
    web.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_host_is_closed(offhost: OffHost, config: Configure) -> None:
    host = pyxen.connect("xenlight:///")
    host.create(config())
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        found = bounded(host.close)()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert not found.late, found.late
    with pyxen.connect("xenlight:///") as host:
        works(offhost, host, config(name="after"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("pause", [0, 1], ids=["while its worker starts", "while it waits"])
def test_who_serves_devices_can_be_stopped(offhost: OffHost, host: pyxen.Host, pause: float) -> None:
    before = children()
    served = host.begin.devd()
    until(lambda: children() != before, "no worker is started")
    time.sleep(pause)
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        served.cancel()
        assert isinstance(served.exception(30), OperationCancelled)
        assert children() == before
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
