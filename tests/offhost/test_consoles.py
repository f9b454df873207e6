"""Consoles that the real xenconsoled provides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

import pyxen.aio
from pyxen import DomainConfig
from pyxen.errors import NotFound
from tests.offhost.host import OffHost, until

Configure = Callable[..., DomainConfig]


@pytest.mark.parametrize("kind", ["pvh", "pv"])
def test_a_console_does_not_block_the_loop(offhost: OffHost, config: Configure, kind: str) -> None:
    async def main() -> None:
        async with pyxen.aio.connect("xenlight:///") as host:
            web = await host.create(config(kind))
            with pytest.raises(NotFound):
                await (await host.domains[0]).console()
            node = f"/local/domain/{web.domid}/console/tty"
            until(lambda: offhost.store.exists(node) and offhost.store.read(node) != "", "xenconsoled does not come")
            with await web.console() as console:
                assert os.isatty(console.fileno())
                assert console.read(100) is None
                while console.write(b"x" * 4096):  # the guest reads nothing
                    pass
            await web.destroy()

    asyncio.run(main())
    assert offhost.left() == []
