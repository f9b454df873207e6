"""No password in a URI is shown, by whatever shows one; secrets here have characters that need quotes in URIs."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

import pyxen
from pyxen._common.shown_uri import redacted, secrets_of, shown
from pyxen.cli.app import app
from pyxen.distributed.worker import HostPlugin
from pyxen.metrics import HostCollector

WORDS = ("s3cret", "s3@cret", "s3/cr@et", "s3 cret", "s3:cr/e@t x", "s3?cret", "s3#cret", "12/s3@cret", "s3cr'et")
PARTS = re.compile(r"s3|cr@|cre|e@t|cret")
"""What must not be seen of any of them."""

PATTERNS = (
    "xen+tcp://root:{}@127.0.0.1:1/system",
    "xen+tcp://root@REALM:{}@127.0.0.1:1/system",
    "nonsense://root:{}@host/system",
    "xenlight+ssh://root:{}@host:port/",
    "xenlight+unix://root:{}@/run/pyxen",
    "xenlight:///root:{}@host/",
    "memory://root:{}@host/",
    "xen:/root:{}@host/",
    "root:{}@host",
    "test:///nonesuch.xml?password={}",
    "nonsense://host/?x={}&y=1",
    "memory:///?word={}",
    "xenlight+ssh://host/?word={}",
    "xen:///system#{}",
    "xen:///?{}",
)
QUOTED = quote("s3:cr/e@t x", safe="")
URIS = [pattern.format(word) for pattern in PATTERNS for word in (*WORDS, QUOTED)]


@pytest.mark.parametrize("uri", URIS)
def test_nothing_of_a_secret_is_shown(uri: str) -> None:
    assert not PARTS.search(shown(uri))
    assert "***" in shown(uri)
    assert not PARTS.search(redacted(f"cannot open {uri}: it's wrong", secrets_of(uri)))
    assert shown(shown(uri)) == shown(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "xenlight:///",
        "xen:///system",
        "xen+ssh://root@host/system",
        "xen+ssh://root@host:22/system?keyfile=/root/.ssh/id&no_verify=1",
        "xen+ssh://root@host:22/system?keyfile=/root/a@b",
        "xen+ssh://host:22/system",
        "xenlight+ssh://root@host/?command=/opt/pyxen/bin/pyxen",
        "xenlight+unix:///run/a@b/serve.sock",
        "memory:///NAME?cpus=4&files=here&no_tty",
        "test:///a:b.xml",
        "",
        "://",
        "x",
    ],
)
def test_what_has_no_secret_is_shown_whole(uri: str) -> None:
    if "a@b" in uri and "?" in uri:
        uri = uri.replace("/root/a@b", "***")
        assert shown(uri.replace("***", "/root/a@b")) == uri  # nobody knows what has an @
        return
    assert shown(uri) == uri
    assert redacted(f"{uri}: no such host: a@b") == f"{uri}: no such host: a@b"
    assert secrets_of(uri) == ()


def test_how_it_is_shown() -> None:
    assert (
        shown("xen+tcp://root:a/b@c@host:1/system?x=1&mode=auto") == "xen+tcp://root:***@host:1/system?x=***&mode=auto"
    )


class Seen(logging.Handler):
    """All that is logged, with all tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += logging.Formatter("%(message)s").format(record) + "\n"


@pytest.fixture
def logged() -> Any:
    handler, root = Seen(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def told(call: Callable[[], object]) -> str:
    """Return all that can be seen of what a call returns or raises."""
    try:
        answer = call()
    except pyxen.Error as error:
        return "".join([*traceback.format_exception(error), repr(error), repr(error.args), repr(vars(error))])
    return f"{answer!r} {answer}"


def _serve_metrics(uri: str) -> str:
    """Return what the command prints."""
    return CliRunner().invoke(app, ["exporter", "--uri", uri, "--listen", "127.0.0.1:0"]).output


def _open_in_worker(uri: str) -> str:
    class Worker:
        pass

    async def main() -> None:
        worker: Any = Worker()
        await HostPlugin(uri).setup(worker)

    asyncio.run(main())
    return ""


def _collect(uri: str) -> str:
    with HostCollector(uri) as collector:
        return f"{collector!r} {list(collector.collect())}"


PRINTERS: dict[str, Callable[[str], object]] = {
    "connect": pyxen.connect,
    "Hosts": lambda uri: [pyxen.Hosts({"a": uri}), repr(pyxen.Hosts({"a": uri}).list().errors)],
    "metrics": _collect,
    "pyxen exporter": _serve_metrics,
    "pyxen list": lambda uri: CliRunner().invoke(app, ["--uri", uri, "list"]).output,
    "distributed": _open_in_worker,
}


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("uri", [pattern.format("s3:cr/e@t x") for pattern in PATTERNS])
def test_no_printer_shows_it(uri: str, printer: str, logged: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.cli.exporter._wait_for_signal", lambda: None)
    seen = told(lambda: PRINTERS[printer](uri)) + logged.text
    assert not PARTS.search(seen), seen
