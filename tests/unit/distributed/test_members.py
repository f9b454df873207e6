"""Which workers there are, of a scheduler that does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyxen.distributed import members
from pyxen.distributed.members import Members
from pyxen.distributed.rooms import Rooms
from pyxen.errors import OperationTimeout


class Silent:
    """A client of a scheduler that does not answer.

    Attributes:
        cancelled: How many calls were cancelled.
    """

    def __init__(self) -> None:
        self.cancelled = 0

    async def nthreads(self) -> dict[str, int]:
        return dict(await self.run())

    async def run(self, *_: object, **__: object) -> Any:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize("cleans_up", [False, True])
def test_a_scheduler_that_does_not_answer(cleans_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no cancel, also in the clean-up of a cancelled task."""
    monkeypatch.setattr(members, "ANSWER_SECONDS", 0.02)

    async def main() -> None:
        client: Any = Silent()
        asked = Members(client, Rooms())

        async def work() -> None:
            if cleans_up:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    await asked.start()
            else:
                await asked.start()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if cleans_up:
            task.cancel()
        with pytest.raises(OperationTimeout, match="the scheduler has not answered for 0"):
            await task
        answers = await asked.ask(["h1", "h2"], asyncio.sleep, seconds=0.02)
        assert {name: type(answer) for name, answer in answers.items()} == dict.fromkeys(["h1", "h2"], OperationTimeout)
        await asyncio.sleep(0)
        assert client.cancelled == 4
        asking = asyncio.create_task(asked.ask(["h1"], asyncio.sleep, seconds=None))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)
        assert client.cancelled == 5

    asyncio.run(main())
