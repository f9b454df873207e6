"""Prometheus itself, as Debian has it: what scrapes an exporter, and promtool, which checks what is exported."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.oracle import debian
from tests.oracle.debian import Packages, cached, host_codename

_SECONDS: Final = 120
"""How long Prometheus may take to start, to scrape or to answer, on a busy machine."""

_CONFIG: Final = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: xen, static_configs: [{{targets: ["{target}"]}}]}}]
"""


def _recipe() -> str:
    return hashlib.sha256(host_codename().encode()).hexdigest()


def set_up() -> None:
    """Put Prometheus into the cache, unless it is there: the machine's own release, which needs no other library."""

    def make(folder: Path) -> None:
        Packages(host_codename(), folder / "apt").unpack(["prometheus"], folder / "tree")
        shutil.rmtree(folder / "apt")
        shutil.rmtree(folder / "tree" / "usr" / "share", ignore_errors=True)

    debian.set_up("prometheus", _recipe(), make)


def _program(name: str) -> Path:
    return cached("prometheus", _recipe()) / "tree" / "usr" / "bin" / name


def complaints(text: str) -> str:
    """Return what promtool has against a scrape, or what it cannot read; nothing if it is well made."""
    done = subprocess.run(
        [_program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    return done.stdout + done.stderr if done.returncode or done.stderr else ""


class Prometheus:
    """A running Prometheus that scrapes a target each second."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the series of an expression: labels and value.

        Raises:
            ValueError: Prometheus does not understand the expression.
        """
        try:
            answer = self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"{expression}: {error.read().decode()}") from None
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Wait until an expression has series, and return them."""
        end = time.monotonic() + _SECONDS
        while not (found := self.ask(expression)):
            if time.monotonic() > end:
                raise AssertionError(f"{expression} has no series after {_SECONDS} s; targets: {self.targets()}")
            time.sleep(0.1)
        return found

    def targets(self) -> Any:
        """Return what it says of its targets, with the error of the last scrape."""
        return self._get("/api/v1/targets")["data"]["activeTargets"]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=_SECONDS) as answer:  # noqa: S310 (our own)
            return json.load(answer)


@contextlib.contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``ADDRESS:PORT``, with its data in a folder."""
    config, log, port = folder / "prometheus.yml", folder / "prometheus.log", _free_port()
    config.write_text(_CONFIG.format(target=target))
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                _program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{port}", log)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        try:
            process.wait(_SECONDS)
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=_SECONDS):  # noqa: S310 (our own)
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"Prometheus does not start ({error}):\n{log.read_text()[-4000:]}") from None
        time.sleep(0.1)
