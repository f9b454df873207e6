"""A collector for prometheus-client that reads a host once a scrape."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen._common.shown_uri import shown
from pyxen._durations import timeout_of
from pyxen.connection import connect
from pyxen.errors import Error, OperationFailed
from pyxen.host import Host
from pyxen.metrics import catalogue as metrics
from pyxen.metrics.catalogue import METRICS
from pyxen.metrics.counters import Counters
from pyxen.metrics.samples import Samples, read_host

__all__ = ["HostCollector"]

_LOG = logger(__name__)

_SECONDS: Final = 8.0
"""How long a scrape waits for the host by default: Prometheus gives up after 10 s."""


class HostCollector(Collector):
    """Collects the metrics of a host, one reading for each scrape. Safe to use from any thread.

    ::

        registry = prometheus_client.CollectorRegistry()
        registry.register(HostCollector(xen))

    A scrape never raises. If the host fails, or does not answer in time, ``xen_up`` is 0, the reason is logged, and the
    next scrape tries again. Scrapes at the same time share a reading.

    A counter never falls while its domain lives, even when a disk or vif is detached and attached again.

    Args:
        host: A host, which the collector does not close. Or a URI, as for `pyxen.connect`: the collector opens it at
            the first scrape, and again after it failed.
        timeout: Seconds that a scrape waits for the host. Prometheus gives up after its own ``scrape_timeout``.

    Raises:
        InvalidArgument: `timeout` is not valid.
    """

    def __init__(self, host: Host | str, *, timeout: float = _SECONDS) -> None:
        self._uri = host if isinstance(host, str) else None
        self._host = None if isinstance(host, str) else host
        self._timeout = timeout_of(timeout, operation="metrics")
        self._counters = Counters()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._reading: Future[Samples | None] | None = None
        self._closed = False
        self._said_down = False

    def __repr__(self) -> str:
        return f"<HostCollector of {self._host!r}>" if self._uri is None else f"<HostCollector of {shown(self._uri)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the host, if the collector has opened it. Later scrapes say that it is down."""
        self._begin_anew_in_child()
        with self._lock:
            self._closed = True
            host = self._host if self._uri is not None else None
        if host is not None:
            host.close()

    def describe(self) -> Iterator[Family]:
        """Return all metrics without values, for the registry. This does not ask the host."""
        return iter([metric.family() for metric in METRICS])

    def collect(self) -> Iterator[Family]:
        """Return the metrics of the host as it is now."""
        begun = time.monotonic()
        read = self._read()
        # Scrapes at the same time share what was read, but not how long they waited for it.
        own = Samples()
        own.add(metrics.UP, read is not None)
        own.add(metrics.SCRAPE, time.monotonic() - begun)
        return iter([*own.families(), *(() if read is None else read.families())])

    def _read(self) -> Samples | None:
        """Return what the host says; None if it does not answer in time."""
        self._begin_anew_in_child()
        with self._lock:
            if (reading := self._reading) is None:
                reading = Future()
                thread = threading.Thread(target=self._work, args=(reading,), name="pyxen-metrics", daemon=True)
                try:
                    with shortage(OperationFailed, "cannot start a thread"):
                        self._reading = reading
                        thread.start()
                except OperationFailed as error:
                    self._reading = None  # the next scrape tries again
                    self._say_down(str(error))
                    return None
        try:
            return reading.result(self._timeout)
        except TimeoutError:
            self._say_down(f"it has not answered within {self._timeout:g} s")
            return None

    def _begin_anew_in_child(self) -> None:
        """In the child of a fork, forget what the parent has going: its lock may be held, and its host is not ours."""
        if os.getpid() != self._pid:
            self._pid, self._lock, self._reading = os.getpid(), threading.Lock(), None
            if self._uri is not None:
                self._host = None

    def _work(self, reading: Future[Samples | None]) -> None:
        samples = None
        try:
            samples = read_host(self._open(), self._counters)
            self._said_down = False
        except Error as error:
            self._say_down(str(error))
            self._give_up()
        except Exception:  # noqa: BLE001 (a scrape must end, and what is wrong with us is logged)
            _LOG.exception("the metrics cannot be read")
        with self._lock:
            self._reading = None
        reading.set_result(samples)

    def _open(self) -> Host:
        if self._host is None and self._uri is not None:
            host = connect(self._uri)
            with self._lock:
                self._host, closed = host, self._closed
            if closed:
                host.close()
        assert self._host is not None  # noqa: S101 (a host that was given is never taken away)
        return self._host

    def _give_up(self) -> None:
        """Close a host that failed, so that the next scrape opens it again; one that was given stays."""
        if self._uri is not None and not self._closed:
            with self._lock:
                host, self._host = self._host, None
            if host is not None:
                host.close()

    def _say_down(self, reason: str) -> None:
        """Log why there are no metrics: once, until there are some again."""
        if not self._said_down:
            self._said_down = True
            _LOG.warning("%s is down: %s", self._host if self._uri is None else shown(self._uri), reason)
