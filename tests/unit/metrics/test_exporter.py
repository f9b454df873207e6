"""The HTTP server of the metrics."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyxen import InvalidArgument
from pyxen.metrics import METRICS, Exporter, HostCollector
from pyxen.metrics.exporter import _MOST_CLIENTS as MOST
from pyxen.metrics.exporter import address_of
from pyxen.testing import FakeHost
from tests.forks import told_by_a_child
from tests.waiting import SECONDS, until
from tools import metrics

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "contrib" / "grafana" / "pyxen.json"


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    with FakeHost() as fake, Exporter(HostCollector(fake, timeout=SECONDS), port=0) as exporter:
        yield exporter


def get(url: str, **headers: str) -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS) as answer:  # noqa: S310 (our own)
        return answer.headers["Content-Type"], answer.read().decode()


def test_both_formats(exporter: Exporter) -> None:
    kind, text = get(exporter.url)
    assert kind.startswith("text/plain")
    assert "\nxen_up 1.0\n" in text
    kind, text = get(exporter.url, Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_it_listens_on_this_machine_only(exporter: Exporter) -> None:
    assert exporter.url == f"http://127.0.0.1:{exporter.port}/metrics"
    assert repr(exporter) == f"<Exporter {exporter.url}>"


def test_other_paths(exporter: Exporter) -> None:
    root = exporter.url.removesuffix("metrics")
    assert "/metrics" in get(root)[1]
    with pytest.raises(urllib.error.HTTPError, match="404") as error:
        get(f"{root}etc/passwd")
    error.value.close()


def test_in_the_child_of_a_fork_the_parent_serves(exporter: Exporter) -> None:
    def make_another() -> bool:
        with FakeHost() as fake, Exporter(HostCollector(fake, timeout=SECONDS), port=0) as own:
            return "\nxen_up 1.0\n" in get(own.url)[1]

    calls: list[Callable[[], object]] = [
        lambda: "\nxen_up 1.0\n" in get(exporter.url)[1],
        exporter.close,
        lambda: "\nxen_up 1.0\n" in get(exporter.url)[1],
        make_another,
    ]
    assert told_by_a_child(calls) == ["True", "None", "True", "True"]
    assert get(exporter.url)


def test_the_child_of_a_fork_does_not_hold_the_address(exporter: Exporter) -> None:
    (begun, begins), (read, write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begins, b"x")  # what is to be let go after a fork has been let go
        os.read(read, 1)
        os._exit(0)
    try:
        assert os.read(begun, 1) == b"x"
        exporter.close()
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(exporter.url)
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        for end in (begun, begins, read, write):
            os.close(end)


def test_silent_clients_take_few_threads_and_keep_nobody_out(exporter: Exporter) -> None:
    """Whoever may connect must not take all threads and descriptors of the process."""
    silent = []
    try:
        for _ in range(3 * MOST):
            client = socket.create_connection(("127.0.0.1", exporter.port), timeout=SECONDS)
            silent.append(client)
            client.sendall(b"GET /met")
        assert "\nxen_up 1.0\n" in get(exporter.url)[1]
        for client in silent[: 2 * MOST]:
            with contextlib.suppress(ConnectionResetError):  # nobody has read what it sent
                assert client.recv(1) == b""  # the oldest were let go
        until(lambda: len([each for each in threading.enumerate() if "process_request" in each.name]) <= MOST, "few")
    finally:
        for client in silent:
            client.close()


class Slow:
    """Has its metrics only when it is told to give them."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()

    def collect(self) -> list[Any]:
        self.asked += 1
        self.go_on.wait(SECONDS)
        return []


def test_clients_that_wait_for_their_answer_are_few_and_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(HostCollector, "collect", lambda _: slow.collect())
    with FakeHost() as fake, Exporter(HostCollector(fake), port=0) as exporter:
        clients: list[socket.socket] = []
        try:
            while len(clients) < 2 * MOST:
                client = socket.create_connection(("127.0.0.1", exporter.port), timeout=SECONDS)
                clients.append(client)
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                until(lambda: slow.asked >= min(len(clients), MOST), "the request of a client")
            for client in clients[MOST:]:
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""  # there is no place for more
            assert slow.asked == MOST
            slow.go_on.set()
            for client in clients[:MOST]:
                assert client.recv(4) == b"HTTP"
        finally:
            slow.go_on.set()
            for client in clients:
                client.close()


def test_a_client_has_not_for_ever_to_ask(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyxen.metrics.exporter._ASK_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=SECONDS) as client:

        def was_let_go() -> bool:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(b"G")  # a byte now and then does not help
            return bool(select.select([client], [], [], 0.05)[0])

        until(was_let_go, "the end of a client that does not ask")
        assert get(exporter.url)


def test_an_address_that_is_taken(exporter: Exporter) -> None:
    with FakeHost() as fake, pytest.raises(OSError, match="in use"):
        Exporter(HostCollector(fake), port=exporter.port)


def test_after_it_was_closed() -> None:
    with FakeHost() as fake:
        exporter = Exporter(HostCollector(fake), port=0)
        exporter.close()
        exporter.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", exporter.port), timeout=SECONDS)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9813", ("127.0.0.1", 9813)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "9813", ":9813", "::1:9813", "host:", "host:http", "host:70000", "host:-1"])
def test_addresses_that_are_not_valid(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"127\.0\.0\.1:9813"):
        address_of(text)


def expressions(value: Any) -> Iterator[str]:
    """Yield all that the dashboard asks Prometheus."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in {"expr", "query"} and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    import re

    asked = set(re.findall(r"\bxen_\w+", " ".join(expressions(json.loads(DASHBOARD.read_text())))))
    assert len(asked) > 20
    assert asked - {metric.name for metric in METRICS} == set()


def test_the_table_of_metrics_is_that_of_the_sources() -> None:
    assert metrics.PAGE.read_text() == metrics.page(), "write it again: python -m tools.metrics"
