"""Claims on domains of a remote host: its server holds them, so that what is left is found there."""

from __future__ import annotations

import contextlib
from uuid import UUID

from pyxen._common.claims import Claim
from pyxen.backends.remote.client import Client
from pyxen.errors import Error

__all__ = ["RemoteClaims"]


class RemoteClaims:
    """A set of claims, see `ClaimSet`. It is open there from the first claim on.

    Args:
        client: The way there. With a server that lacks these verbs, or does not allow them, nothing is recorded.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._records = "claims_add" in client.verbs
        self._number: int | None = None
        self._claimed: set[UUID] = set()

    def add(self, claim: Claim) -> None:
        """See `ClaimSet.add`."""
        if not self._records:
            return
        if self._number is None:
            self._number = self._client.ask("claims_open")
        self._claimed.add(claim.uuid)
        self._client.ask("claims_add", claims=self._number, uuid=claim.uuid, files=claim.files)

    def drop(self, uuid: UUID) -> None:
        """See `ClaimSet.drop`."""
        if self._number is not None:
            self._client.ask("claims_drop", claims=self._number, uuid=uuid)
            self._claimed.discard(uuid)

    def drop_all(self) -> None:
        """See `ClaimSet.drop_all`. With a server that lacks this verb, they are removed one by one."""
        if self._number is None:
            return
        if "claims_drop_all" in self._client.verbs:
            self._client.ask("claims_drop_all", claims=self._number)
            self._claimed.clear()
            return
        for uuid in list(self._claimed):
            self.drop(uuid)

    def close(self) -> None:
        """See `ClaimSet.close`. If the link is lost, the server has released them."""
        if self._number is not None:
            with contextlib.suppress(Error):
                self._client.ask("claims_close", claims=self._number)
            self._number = None
