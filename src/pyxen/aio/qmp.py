"""QMP of a domain, for asyncio: commands for its device model, QEMU, and the answers as Python values.

Generated from `pyxen.qmp` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyxen._common.arguments import check_is
from pyxen._durations import timeout_of
from pyxen.aio._calls import Calls
from pyxen.aio.readers.qmp import QmpEvents
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import InvalidArgument

__all__ = ["Qmp"]

_PATIENCE: Final = 10.0
"""Seconds that QEMU has for an answer if the caller does not say."""


class Qmp:
    """The QEMU of a domain, as ``domain.qmp``: `pyxen.Qmp`, awaited. Creating one does no I/O.

    pyxen uses the socket that libxl gives to other programs, so libxl's own connection is not disturbed. QEMU talks to
    one client of a socket at a time: a command waits while another program, or `Host.stats`, uses it. While a reader of
    `events` is open, commands through the same host go over its connection, those of others wait, and `Host.stats` has
    no counters of the disks that this QEMU serves.
    """

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref

    def __repr__(self) -> str:
        return f"<Qmp of domain {self._ref.domid}>"

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = _PATIENCE,
        **keywords: Any,
    ) -> Any:
        """Run a command and return QEMU's answer: ``domain.qmp.execute("query-status")["status"]``.

        libxl does not learn of changes made this way. Check the answer before you rely on it: it comes from QEMU, which
        a guest may have taken over. Descriptors cannot be passed.

        Args:
            command: E.g. ``query-block``; QEMU's manual lists them.
            arguments: The arguments of the command, for names with a dash: ``{"node-name": "xvda"}``.
            timeout: Seconds after which to give up. A command that was already sent may still be carried out. None
                waits forever.
            keywords: More arguments: ``execute("human-monitor-command", **{"command-line": "info block"})``.

        Returns:
            The answer as Python values, as `json` makes them.

        Raises:
            UnsupportedFeature: The domain has no QEMU, or it runs in a stub domain.
            InvalidArgument: The command is empty, an argument is given twice, or is not valid in JSON.
            QmpError: QEMU refused the command, with its reason in ``error_class`` and ``description``; or its answer is
                not valid, or longer than 8 MiB.
            InvalidState: QEMU has ended.
            OperationTimeout: The timeout expired.
        """
        check_is(str, command, "qmp", ", as the command")
        if not command.strip():
            raise InvalidArgument("the command is empty: give one, such as query-status", operation="qmp")
        if arguments is not None:
            check_is(Mapping, arguments, "qmp", ", as the arguments")
        given = dict(arguments or {})
        for name in given:
            check_is(str, name, "qmp", ", as the name of an argument")
        twice = sorted(given.keys() & keywords.keys())
        if twice:
            raise InvalidArgument(f"the argument {twice[0]} is given twice: leave one of them out", operation="qmp")
        seconds = timeout_of(timeout, operation="qmp")
        return await self._calls.finish(
            lambda: self._backend.qmp(self._ref, command, {**given, **keywords}, timeout=seconds)
        )

    def events(self, *names: str, timeout: float | None = None, maxlen: int = 1000) -> QmpEvents:
        """Return a reader of QEMU's events from now on; close it, since it keeps others from talking to QEMU.

        ::

            with domain.qmp.events("DEVICE_TRAY_MOVED", timeout=60) as events:
                domain.qmp.execute("eject", id="ide2-cd0")
                print(next(events).data["tray-open"])

        Check an event before you rely on it: it comes from QEMU, which a guest may have taken over. At most 4 MiB of
        events are read in a second.

        Args:
            names: Names of events, e.g. ``RESET``; QEMU's manual lists them. Default: all events.
            timeout: Seconds after which a loop over the events raises `OperationTimeout`. What has come by then is
                still given: with 0, what is there. None is no deadline. They count from when QEMU has greeted the
                reader, for which it has 10 seconds.
            maxlen: How many events may wait to be read. More are dropped, and counted in `QmpEvents.lost`.

        Raises:
            UnsupportedFeature: The domain has no QEMU, or it runs in a stub domain.
            InvalidArgument: `maxlen` is below 1, or a name is not text.
            InvalidState: QEMU has ended, or its events are being read already through this host.
            QmpError: QEMU does not keep to its protocol.
            OperationTimeout: QEMU does not greet the reader, or another client uses its socket.
        """
        return QmpEvents(self._backend, self._calls, self._ref, names, timeout, maxlen)
