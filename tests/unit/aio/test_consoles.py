"""Consoles in an event loop: nothing that is done with one makes the loop wait."""

from __future__ import annotations

import asyncio
import os
from io import FileIO

import pyxen
import pyxen.aio
from pyxen import DomainConfig
from tests.unit.aio.fakehost import run

URI = "memory:///aio-consoles"
CONFIG = DomainConfig("web1", type="pvh", kernel="/k", memory=16)


def test_a_console_does_not_block_the_loop() -> None:
    async def main() -> None:
        async with pyxen.aio.connect(URI) as host:
            web = await host.create(CONFIG)
            with await web.console() as console:
                assert not os.get_blocking(console.fileno())
                assert console.read(100) is None
                assert console.read() is None
                assert (await answer(console, b"root\r") or b"").startswith(
                    b"root\r\n"
                )  # and a prompt, when it is quick
                while console.write(b"x" * 4096):  # the guest echoes, and nobody reads
                    pass
            await web.destroy()

    run(main())


async def answer(console: FileIO, typed: bytes) -> bytes | None:
    """Return what comes after something is typed."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()
    loop.add_reader(console, came.set_result, None)
    try:
        console.write(typed)
        await came
    finally:
        loop.remove_reader(console)
    return console.read(100)


def test_others_of_the_same_console_may_block() -> None:
    async def main() -> None:
        async with pyxen.aio.connect(URI) as host:
            web = await host.create(CONFIG)
            with pyxen.connect(URI) as blocking, blocking.domains["web1"].console() as first, await web.console():
                assert os.get_blocking(first.fileno())
            await web.destroy()

    run(main())
