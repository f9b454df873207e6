"""What belongs to an open host, and so to this process."""

from __future__ import annotations

from typing import NoReturn, Self

__all__ = ["Local"]


class Local:
    """Base of hosts, and of handles and readers of theirs.

    A copy is the thing itself: another one would end what both need. Another process has no use of one.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        message = (
            f"{self!r} cannot be pickled: it belongs to a host that this process has open. Send the host's uri and the "
            "domain's uuid, and open it there"
        )
        raise TypeError(message)
