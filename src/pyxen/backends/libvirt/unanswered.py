"""What libvirt was asked for and has not answered: if the link breaks meanwhile, libvirt may do it all the same.

Nobody hears of its success then. One thing is looked for once libvirt answers again, and undone: the create of a domain
under a uuid that pyxen chose. Nobody else can have asked for that domain. As soon as this process meets it in another
way, as by its name, it stays: whoever has met it may rely on it. Whatever else libvirt may have done can be somebody
else's by then, so it stays, too, and the error of the operation says what to look for.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal
from uuid import UUID

from pyxen._common.shield import logger
from pyxen.backends.libvirt.binding import Connection, VirError
from pyxen.backends.libvirt.error_map import broke_the_link, is_code, words_of
from pyxen.backends.libvirt.frames import release
from pyxen.backends.libvirt.timer_thread import TimerThread
from pyxen.errors import HostClosed, InvalidState, OperationFailed
from pyxen.operation import Operation

__all__ = ["Unanswered", "meet"]

_LOG: Final = logger("pyxen.libvirt")

_BETWEEN: Final = 1.0  # seconds between two looks
_ENOUGH: Final = 60.0  # seconds that libvirt answers and knows nothing of it, after which it will not come any more
_LONGEST: Final = 3600.0  # seconds that libvirt may be away, or take to do it

Lease = Callable[[], AbstractContextManager[Connection]]
_Seen = Literal["over", "coming", "absent"]
"""What was found: nothing is to be undone any more, libvirt is doing it, or libvirt knows nothing of it."""


class _Create:
    """A create of a domain under a uuid that pyxen chose."""

    def __init__(self, operation: Operation[Any], uuid: UUID) -> None:
        self.operation = operation
        self.uuid = uuid
        self.lease: Lease | None = None  # until its answer is lost
        self.is_destroyed = False  # libvirt was asked to destroy the domain, and has not refused
        self.end = 0.0
        self.absent_since: float | None = None

    def is_given_up(self) -> bool:
        """Tell whether the domain is destroyed whatever comes: that is under way, or follows libvirt's answer."""
        return self.is_destroyed or (self.lease is None and self.operation.stopped is not None)


_unmet: Final[dict[UUID, _Create]] = {}
"""The creates that are not answered, and whose domain nobody has met, of all hosts of this process."""

_gate = threading.RLock()  # a signal handler may use a host, too


def meet(uuid: UUID, verb: str) -> None:
    """Note that this process knows of a domain: if its create was not answered, it is not undone any more.

    Raises:
        InvalidState: It is too late: the domain is being destroyed.
    """
    with _gate:
        create = _unmet.get(uuid)
        if create is None:
            return
        if create.is_given_up():
            message = f"the domain {uuid} is there from a create that was given up, and pyxen destroys it: try again"
            raise InvalidState(message, operation=verb, domain=create.operation.subject)
        del _unmet[uuid]
    if create.lease is not None:
        _LOG.info("%r: the domain %s, which libvirt created after the link broke, stays", create.operation, uuid)


class Unanswered:
    """The requests of a host to libvirt that are not answered, and the undoing of creates whose answer was lost.

    Args:
        timer: Has the times of the next looks.
        submit: Has a thread make a call.
    """

    def __init__(self, timer: TimerThread, submit: Callable[[Callable[[], None]], None]) -> None:
        self._timer = timer
        self._submit = submit
        self._asked: dict[Operation[Any], UUID] = {}
        self._lost: list[_Create] = []
        self._listening: list[set[Hashable]] = []
        self._open = True

    def ask(self, operation: Operation[Any], uuid: UUID, *, chosen: bool = False) -> None:
        """Note the domain that an operation is about to ask for.

        Args:
            operation: The operation.
            uuid: The uuid of the domain.
            chosen: Whether pyxen has chosen this uuid for a create, and nobody else knows it.
        """
        with _gate:
            self._asked[operation] = uuid
            if chosen:
                _unmet[uuid] = _Create(operation, uuid)
            for uuids in self._listening:
                uuids.add(uuid)

    def answered(self, operation: Operation[Any]) -> None:
        """Note that libvirt has answered."""
        with _gate:
            uuid = self._asked.pop(operation, None)
            if uuid is not None and self._is_unmet(operation, uuid):
                del _unmet[uuid]

    def lost(self, operation: Operation[Any], lease: Lease, *, is_destroyed: bool) -> bool:
        """Undo a create once libvirt answers again; return False if it is not to be undone.

        Args:
            operation: The operation, whose answer was lost.
            lease: Gives the connection.
            is_destroyed: Whether libvirt has already been asked to destroy the domain.
        """
        with _gate:
            uuid = self._asked.pop(operation, None)
            if uuid is None or not self._is_unmet(operation, uuid):
                return False
            if not self._open:
                del _unmet[uuid]
                return False
            create = _unmet[uuid]
            create.lease, create.is_destroyed, create.end = lease, is_destroyed, time.monotonic() + _LONGEST
            self._lost.append(create)
        self._later(create)
        return True

    @contextmanager
    def meanwhile(self) -> Iterator[set[Hashable]]:
        """Yield the uuids of the domains that are asked for, with those that are asked for meanwhile."""
        with _gate:
            uuids: set[Hashable] = {*self._asked.values(), *(create.uuid for create in self._lost)}
            self._listening.append(uuids)
        try:
            yield uuids
        finally:
            with _gate:
                self._listening = [each for each in self._listening if each is not uuids]

    def close(self) -> None:
        """Undo nothing any more."""
        with _gate:
            self._open = False
            left = [create for create in self._lost if _unmet.get(create.uuid) is create]
            for create in list(self._lost):
                self._drop(create)
        for create in left:
            if create.absent_since is None and not create.is_destroyed:
                self._warn(create, "the host was closed before libvirt answered again")

    @staticmethod
    def _is_unmet(operation: Operation[Any], uuid: UUID) -> bool:
        return uuid in _unmet and _unmet[uuid].operation is operation

    def _later(self, create: _Create) -> None:
        self._timer.at(time.monotonic() + _BETWEEN, lambda: self._begin(create))

    def _begin(self, create: _Create) -> None:
        try:
            self._submit(lambda: self._look(create))
        except OperationFailed as error:  # no thread can be started now
            _LOG.debug("%r: %s", create.operation, str(error))
            self._later(create)

    def _look(self, create: _Create) -> None:
        try:
            seen = self._undo(create)
        except HostClosed:
            return
        except Exception as error:  # noqa: BLE001 (the next look may succeed)
            release(error)
            _LOG.debug("%r: it cannot be undone yet: %s", create.operation, words_of(error))
            seen = "coming"
        now = time.monotonic()
        if seen != "absent":
            create.absent_since = None
        elif create.absent_since is None:
            create.absent_since = now
        if seen == "over" or (create.absent_since is not None and now - create.absent_since > _ENOUGH):
            self._drop(create)
        elif now > create.end:
            self._drop(create)
            self._warn(create, "libvirt did not answer for too long")
        else:
            self._later(create)

    def _undo(self, create: _Create) -> _Seen:
        """Destroy the domain if it runs, and nobody has met it."""
        if create.lease is None or not self._is_to_be_undone(create):
            return "over"
        with create.lease() as connection:
            try:
                found = connection.lookupByUUIDString(str(create.uuid))
                if found.isPersistent():
                    _LOG.info("%r: the domain %s stays: somebody has defined it", create.operation, create.uuid)
                    return "over"
                if found.ID() < 0:  # libvirt lists such a domain while it creates it
                    return "coming"
                with _gate:
                    if not self._is_to_be_undone(create):
                        return "over"
                    create.is_destroyed = True
            except VirError as error:
                if is_code(error, "NO_DOMAIN"):
                    return "absent"
                raise
            try:
                found.destroy()
            except VirError as error:
                if is_code(error, "NO_DOMAIN", "OPERATION_INVALID"):  # it has ended
                    return "over"
                if not broke_the_link(error):
                    create.is_destroyed = False
                raise
        _LOG.info("%r: the domain that libvirt created after the link broke was destroyed", create.operation)
        return "over"

    def _is_to_be_undone(self, create: _Create) -> bool:
        with _gate:
            return self._open and _unmet.get(create.uuid) is create

    def _drop(self, create: _Create) -> None:
        with _gate:
            self._lost = [each for each in self._lost if each is not create]
            if _unmet.get(create.uuid) is create:
                del _unmet[create.uuid]

    @staticmethod
    def _warn(create: _Create, why: str) -> None:
        what = f"look for the domain {create.uuid}, which libvirt may have created, and destroy it"
        _LOG.warning("%r: %s: %s", create.operation, why, what)


def _forget() -> None:
    """Forget the creates in the child of a fork: they are the parent's."""
    global _gate  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _gate = threading.RLock()
    _unmet.clear()


os.register_at_fork(after_in_child=_forget)
