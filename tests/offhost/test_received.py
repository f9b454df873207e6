"""Saved domains that somebody has tampered with, a xenstored that hangs, children that somebody else reaps."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen._common import savefile
from pyxen.errors import ConfigError, ConnectFailed
from tests.offhost.host import OffHost
from tests.waiting import until

Change = Callable[[dict[str, Any]], object]
Configure = Callable[..., DomainConfig]


@pytest.fixture
def saved(offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path) -> Path:
    """A saved guest; nothing of it is left on the host."""
    web = host.create(config(memory=64))
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "web", timeout=20)
    return tmp_path / "web"


def tamper(path: Path, change: Change) -> None:
    """Change the configuration in the file of a saved domain."""
    data = path.read_bytes()
    with path.open("rb") as file:
        head = savefile.read(file.fileno())
    document = json.loads(head.config)
    change(document)
    path.write_bytes(savefile.head(json.dumps(document)) + data[data.index(b"LibxlFmt") :])


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["b_info"].update(avail_vcpus=[-100]),
        lambda d: d["b_info"].update(avail_vcpus=[40_000]),
        lambda d: d["b_info"].update({"type.pv": {}}),
        lambda d: d["b_info"].pop("type.pvh"),
        lambda d: d["c_info"].update(name="a\0b"),
        lambda d: d["b_info"].update(vnuma_nodes=[{"memkb": 65536, "vcpus": [0], "distances": []}]),
    ],
)
def test_a_saved_domain_that_would_end_the_process(
    offhost: OffHost, host: pyxen.Host, saved: Path, change: Change
) -> None:
    tamper(saved, change)
    with pytest.raises(ConfigError):
        host.restore(saved, timeout=20)
    assert offhost.left() == []


def test_a_saved_domain_of_a_newer_xen(offhost: OffHost, host: pyxen.Host, saved: Path) -> None:
    tamper(saved, lambda d: d["b_info"].update(of_the_future={"deep": [1]}))
    host.restore(saved, timeout=20).destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_xenstored_that_hangs(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with pyxen.connect("memory:///") as other:
            with pytest.raises(ConnectFailed, match="has not answered"):
                web.suspend(timeout=60)
            assert [info.domid for info in other.list()] == [0]
    finally:
        offhost.signal_xenstored(signal.SIGCONT)

    def listed() -> list[int]:
        with contextlib.suppress(ConnectFailed):  # it has little time to answer here
            return [info.domid for info in host.list()]
        return []

    until(lambda: listed() == [0, web.domid], "it answers again")
    web.destroy()
    assert offhost.left() == []


def test_children_whose_status_nobody_knows_have_failed(offhost: OffHost, kernels: dict[str, str]) -> None:
    done = offhost.run_python(
        "import signal, sys, pyxen\n"
        "from tests.offhost.internals import use_extension\n"
        "from tests.offhost.setup import release\n"
        "use_extension(release(sys.argv[2]))\n"
        "sys.executable = str(release(sys.argv[2]).python)\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "config = pyxen.DomainConfig(name='web', type='pvh', kernel=sys.argv[1], memory=16)\n"
        "with pyxen.connect('xenlight:///') as host:\n"  # its worker has signals of its own
        "    host.create(config).destroy()\n"
        "with pyxen.connect('xenlight:///', workers=0) as host:\n"
        "    web = host.create(config)\n"
        "    try:\n"
        "        web.destroy(timeout=20)\n"
        "    except pyxen.Error as error:\n"
        "        print(type(error).__name__)\n",
        kernels["pvh"],
        offhost.release.name,
    )
    assert (done.returncode, done.stdout) == (0, "OperationFailed\n"), done.stderr
