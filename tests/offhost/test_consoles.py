"""Consoles that the real xenconsoled provides."""

from __future__ import annotations

import asyncio
import math
import os
import pty
import queue
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pyxen.aio
from pyxen import Disk, Domain, DomainConfig, Host
from pyxen.errors import DomainNotFound, InvalidArgument, NotFound, OperationFailed
from pyxen.records.endpoints import ConsoleTypeName
from tests.bootloader import write_bootloader
from tests.offhost.host import OffHost, until
from tests.offhost.internals import terminal_by_libxl

SECONDS = 60

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


@pytest.mark.parametrize("stub", [False, True])
def test_which_terminal_it_is_is_libxls_choice(offhost: OffHost, host: Host, stub: bool) -> None:
    guest, model = offhost.add("web", kind="pvh"), offhost.add("web-dm", kind="pv")
    pairs = [pty.openpty() for _ in range(5)]
    paths = [os.ttyname(slave) for _, slave in pairs]
    top = f"/local/domain/{guest}"
    offhost.store.write(f"/libxl/{guest}/type", "pvh")
    nodes = ("console", "device/console/3", "serial/0", "serial/2")
    for node, path in zip(nodes, paths, strict=False):
        offhost.store.write(f"{top}/{node}/tty", path)
        offhost.store.permit(f"{top}/{node}/tty", "n0", f"r{guest}")
    offhost.store.write(f"/local/domain/{model}/device/console/3/tty", paths[4])
    offhost.store.permit(f"/local/domain/{model}/device/console/3/tty", "n0", f"r{model}")
    if stub:
        offhost.store.write(f"{top}/image/device-model-domid", str(model))
    domain = host.domains[guest]
    with domain.console_stream() as stream:
        assert stream.path == paths[4 if stub else 0] == terminal_by_libxl(host, guest)
    wanted: list[tuple[ConsoleTypeName, int]] = [("pv", 0), ("pv", 3), ("serial", 0), ("serial", 2)]
    for place, (kind, number) in enumerate(wanted):
        with domain.console_stream(kind, number=number) as stream:
            assert stream.path == paths[place] == terminal_by_libxl(host, guest, kind, number)
    assert terminal_by_libxl(host, guest, "serial", 1) is None
    with pytest.raises(NotFound):
        domain.console("serial", number=1)
    offhost.store.permit(f"{top}/console/tty", f"n{guest}")  # a node that the guest can write
    with pytest.raises(NotFound):
        domain.console("pv")
    for each in (*pairs[0], *pairs[1], *pairs[2], *pairs[3], *pairs[4]):
        os.close(each)


def test_a_bootloader_has_its_console_from_the_beginning(
    offhost: OffHost, host: Host, config: Configure, tmp_path: Path
) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    wanted = config("pv")
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    bootloader = write_bootloader(tmp_path / "loader", str(wanted.kernel))
    wanted = wanted.replace(kernel=None, bootloader=bootloader, disks=[Disk(str(tmp_path / "disk"), vdev="xvda")])
    creating = host.begin.create(wanted, on_console=told.put, timeout=SECONDS)
    domain = told.get(timeout=SECONDS)
    with domain.console_stream(timeout=SECONDS) as stream:
        assert stream.get() == "boot menu"
        assert not creating.done()
        stream.write("else\n")
        while stream.get() != "no such entry: else":
            pass
        stream.write("boot\n")
        assert creating.result(SECONDS) == domain
        stream.write(b"x")
        domain.destroy()
        list(stream)
        assert stream.read() == b""
    assert offhost.left() == []


def test_a_bootloader_that_fails(offhost: OffHost, host: Host, config: Configure, tmp_path: Path) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    wanted = config("pv")
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    bootloader = write_bootloader(tmp_path / "loader", str(wanted.kernel))
    wanted = wanted.replace(kernel=None, bootloader=bootloader, disks=[Disk(str(tmp_path / "disk"), vdev="xvda")])
    creating = host.begin.create(wanted, on_console=told.put, timeout=SECONDS)
    with told.get(timeout=SECONDS).console_stream(timeout=SECONDS) as stream:
        assert stream.get() == "boot menu"
        stream.write("fail\n")
        list(stream)
    with pytest.raises(OperationFailed):
        creating.result(SECONDS)
    assert offhost.left() == []


@pytest.mark.parametrize("domid", [-1, 1 << 20, 1 << 63])
def test_no_domain_with_that_domid_serves_a_console(offhost: OffHost, host: Host, domid: int) -> None:
    domain = host.domains[offhost.add("web", kind="pv")]
    offhost.store.remove(f"/local/domain/{domain.domid}/console")
    if not host.supports("add_console"):
        return
    with pytest.raises(DomainNotFound, match=f"there is no domain {domid} that could serve the console"):
        domain.add_console(port=1, gfn=1, backend_domid=domid)


def test_where_no_console_can_be(offhost: OffHost, host: Host) -> None:
    domain = host.domains[offhost.add("web", kind="pv")]
    offhost.store.remove(f"/local/domain/{domain.domid}/console")
    wrong: list[Any] = ["x", 1.5, True, math.inf, [1], 1 << 70]
    for value in wrong:
        for call in (
            partial(domain.add_console, port=value, gfn=1),
            partial(domain.add_console, port=1, gfn=value),
            partial(domain.add_console, port=1, gfn=1, backend_domid=value),
        ):
            with pytest.raises(InvalidArgument, match="whole number"):
                call()
