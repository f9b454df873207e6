"""Consoles in an event loop: nothing that is done with one makes the loop wait."""

from __future__ import annotations

import asyncio
import os
from io import FileIO

import pyxen
import pyxen.aio
from pyxen import DomainConfig
from tests.unit.aio.fakehost import run

CONFIG = DomainConfig("web1", type="pvh", kernel="/k", memory=16)


def test_a_console_does_not_block_the_loop() -> None:
    async def main() -> None:
        async with pyxen.aio.connect("memory:///") as host:
            web = await host.create(CONFIG)
            with await web.console() as console:
                assert not os.get_blocking(console.fileno())
                shown = b""
                while not shown.endswith(b"login: "):
                    await ready(console)
                    shown += console.read(100) or b""
                assert console.read(100) is None
                assert console.read() is None
                console.write(b"root\r")
                await ready(console)
                assert console.read(100) == b"root\r\n"
                while console.write(b"x" * 4096):  # the guest echoes, and nobody reads
                    pass
            await web.destroy()

    run(main())


async def ready(console: FileIO) -> None:
    """Wait until there is something to read."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()
    loop.add_reader(console, came.set_result, None)
    try:
        await came
    finally:
        loop.remove_reader(console)


def test_others_of_the_same_console_may_block() -> None:
    async def main() -> None:
        uri = "memory:///aio-consoles"
        async with pyxen.aio.connect(uri) as host:
            web = await host.create(CONFIG)
            with pyxen.connect(uri) as blocking, blocking.domains["web1"].console() as first, await web.console():
                assert os.get_blocking(first.fileno())
            await web.destroy()

    run(main())
