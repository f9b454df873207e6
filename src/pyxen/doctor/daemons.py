"""Xen's daemons: xenstored, xenconsoled, and what xen-init-dom0 leaves in xenstore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pyxen.backends.xenlight.xenstore.connection import DEVICES, SOCKETS, Connection
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.errors import Error, NotPrivileged

__all__ = ["daemons"]

_START: Final = (
    "Start Xen's daemons: systemctl start xen (Debian), or xenstored.service, xen-init-dom0.service and so on."
)
_STORED: Final = ("xenstored", "oxenstored")


def daemons(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine whether Xen's daemons run and answer."""
    if not facts.is_dom0:
        return
    processes = around.processes()
    yield from _xenstored(around, processes)
    if "xenconsoled" in processes:
        yield Finding("xenconsoled", Severity.OK, f"xenconsoled runs (pid {processes['xenconsoled']}).")
    else:
        message = "xenconsoled does not run: PV and PVH guests have no console, and wait while they print."
        yield Finding("xenconsoled", Severity.ERROR, message, _START)


def _xenstored(around: Surroundings, processes: Mapping[str, int]) -> Iterator[Finding]:
    runs = next((name for name in _STORED if name in processes), None)
    try:
        connection = Connection([around.path(path) for path in SOCKETS], [around.path(path) for path in DEVICES])
        try:
            name, domid = connection.read_all("/local/domain/0/name", "/tool/xenstored/domid")
        finally:
            connection.close()
    except NotPrivileged as error:
        message = f"{runs} runs, but this user may not talk to it." if runs else "This user may not talk to xenstored."
        yield Finding("xenstored", Severity.NOTE, message, str(error))
        return
    except (Error, OSError) as error:
        message = f"{runs} runs, but does not answer: {error}." if runs else f"xenstored does not run: {error}."
        yield Finding("xenstored", Severity.ERROR, message, _START)
        return
    where = f"in domain {domid}" if domid not in (None, "0") else f"as {runs}" if runs else "in a domain of its own"
    yield Finding("xenstored", Severity.OK, f"xenstored answers, {where}.")
    if name is None:
        message = "xenstore has no entries of dom0: xen-init-dom0 has not run, and devices of guests will fail."
        yield Finding("init-dom0", Severity.ERROR, message, _START)
