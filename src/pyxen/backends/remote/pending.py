"""The calls of a client that have not ended, and what they may have left when a link is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pyxen._common.shield import logger, shielded
from pyxen._printable import printable
from pyxen.backends.refs import DomainRef
from pyxen.backends.remote.lost import added, lost_with
from pyxen.backends.remote.messages import VERSION, Item
from pyxen.backends.remote.streams import Stream
from pyxen.backends.remote.values import Codec, Malformed, decoded
from pyxen.backends.remote.verbs import Verb
from pyxen.config import DomainConfig
from pyxen.errors import Error
from pyxen.operation import Operation

__all__ = ["Pending", "Subscription", "fail", "operation_of", "what_may_be"]

_LOG: Final = logger("pyxen.remote")
_MOST_UNREAD: Final = 8 << 20
"""The bytes of a subscription that wait to be delivered, above which items are lost."""
_OVERHEAD: Final = 512
"""The bytes that an item takes in memory beside its own."""


@dataclass(slots=True)
class Pending:
    """A call that has not ended."""

    verb: Verb
    operation: Operation[Any] | None = None
    stream: Stream | None = None
    subscription: Subscription | None = None
    allow: Callable[[DomainConfig], bool | None] | None = None
    number: int = 0
    """The call's number, from before it is sent: whoever is interrupted while it is sent stops it. 0 if it has none."""
    refusal: BaseException | None = None
    """What `allow` has raised."""
    made: Any = None
    done: bool = False
    """Whether the server has said that it has ended well."""
    ending: float | None = None
    """Since when it should end, by `time.monotonic`: it was stopped, or the server has said that it has ended well."""

    def ends(self) -> None:
        """Note that it should end from now on."""
        if self.ending is None:
            self.ending = time.monotonic()

    def over_since(self) -> float | None:
        """Return since when its operation should end, by `time.monotonic`; None if it may go on, or has ended."""
        if self.operation is None or self.operation.done():
            return None
        times = [each for each in (self.operation.deadline, self.ending) if each is not None]
        return min(times, default=None)


class Subscription:
    """What gets the items of a subscription, on the delivering thread.

    Args:
        item: How an item is sent.
        put: Gets each item.
        end: Called at the end, with the error if there is one.
        lost: Returns the items that say that so many were lost; None is an unknown number.
    """

    def __init__(
        self,
        item: Codec,
        put: Callable[[Any], None],
        end: Callable[[Error | None], None],
        lost: Callable[[int | None], Sequence[Any]],
    ) -> None:
        self._item, self._put, self._end, self._lost_items = item, put, end, lost
        self._lock = threading.Lock()
        self._unread = 0
        self._lost: int | None = 0
        self._warned = False
        self.wanted = True

    def come(self, message: Item, deliver: Callable[[Callable[[], None]], None]) -> None:
        """Have an item delivered, unless too much waits for that."""
        items = self._items_of(message)
        size = len(message.value) + _OVERHEAD * max(1, len(items))
        with self._lock:
            if self._unread >= _MOST_UNREAD:
                for item in items:
                    self._lost = added(self._lost, lost_with(item))
                return
            self._unread += size
        deliver(partial(self._deliver, items, size))

    def _items_of(self, message: Item) -> Sequence[Any]:
        """Return what a message brings. A newer server may send what is not known here: it counts as lost."""
        if message.lost != 0:
            return self._lost_items(message.lost)
        try:
            return (decoded(message.value, self._item),)
        except Malformed as error:
            if not self._warned:
                self._warned = True
                what = printable(str(error))
                _LOG.warning(
                    "what came counts as lost: %s: pyxen %s here is older than there: update it", what, VERSION
                )
            return self._lost_items(1)

    def _deliver(self, items: Sequence[Any], size: int) -> None:
        with self._lock:
            self._unread -= size
            lost, self._lost = (self._lost, 0) if self._unread == 0 else (0, self._lost)
        self._put_all(items)
        if lost != 0:
            self._put_all(self._lost_items(lost))

    def _put_all(self, items: Sequence[Any]) -> None:
        for item in items:
            if self.wanted:
                shielded(self._put, item)

    def over(self, error: Error | None, *, link_lost: bool) -> None:
        """Deliver the end; if the link is lost, say first that items are missing."""
        if link_lost:
            self._put_all(self._lost_items(None))
        self.wanted = False
        shielded(self._end, error)


def operation_of(verb: Verb, arguments: Mapping[str, Any]) -> Operation[Any]:
    """Return the operation for a call; its verb is xl's."""
    domain, config = arguments.get("domain"), arguments.get("config")
    subject: str | int | None = None
    if isinstance(domain, DomainRef):
        subject = domain.domid
    elif isinstance(config, DomainConfig):
        subject = config.name
    operation: Operation[Any] = Operation(verb.name.removesuffix("_over"), subject, timeout=arguments.get("timeout"))
    if isinstance(domain, DomainRef):
        operation.domid = domain.domid
    return operation


def fail(operation: Operation[Any], error: BaseException) -> None:
    """End an operation with an error, unless it has ended."""
    if not operation.done():
        operation.set_exception(error)


def what_may_be(pending: Pending) -> str:
    """Say what may have become of a call whose end did not arrive."""
    if isinstance(pending.made, DomainRef):
        return f"; domain {pending.made.domid} with uuid {pending.made.uuid} may exist there: look it up"
    if pending.operation is None:
        return ""
    return "; what it had begun is undone there, if it has not just ended"
