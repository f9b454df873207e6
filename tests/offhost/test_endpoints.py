"""Endpoints as xenstore has them, and what others than dom0 can write there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import pyxen.aio
from pyxen import ChannelConnection, ChannelEndpoint, ConsoleEndpoint, ConsoleType, DomainConfig, Host, VncEndpoint
from tests.offhost.host import OffHost, until

Configure = Callable[..., DomainConfig]
WORD = "geheim77"


def added(offhost: OffHost) -> tuple[int, str]:
    """Add a domain, and return its domid and its folder in xenstore."""
    domid = offhost.add("web", kind="pv")
    return domid, f"/local/domain/{domid}"


def test_the_console_of_a_guest(host: Host, offhost: OffHost, config: Configure) -> None:
    web = host.create(config("pvh"))
    until(lambda: web.endpoints().consoles != (), "xenconsoled does not come")
    path = offhost.store.read(f"/local/domain/{web.domid}/console/tty")
    assert web.endpoints() == pyxen.Endpoints(None, None, (ConsoleEndpoint(ConsoleType.PV, 0, path),), ())

    async def awaited() -> pyxen.Endpoints:
        async with pyxen.aio.connect("xenlight:///") as xen:
            return await (await xen.domains[web.domid]).endpoints()

    assert asyncio.run(awaited()) == web.endpoints()
    web.destroy()


def test_a_screen(host: Host, offhost: OffHost) -> None:
    domid, top = added(offhost)
    web = host.domains[domid]
    offhost.store.write(f"{top}/console/vnc-port", "5901")
    assert web.endpoints().vnc == VncEndpoint("127.0.0.1", 5901)
    offhost.store.write(f"{top}/console/vnc-listen", "::")
    offhost.store.write(f"{top}/console/vnc-pass", WORD)
    assert web.endpoints().vnc == VncEndpoint("::", 5901, WORD)
    offhost.store.write(f"{top}/console/vnc-port", "/run/vnc")
    assert web.endpoints().vnc is None
    offhost.store.write(f"{top}/console/vnc-listen", "")
    assert web.endpoints().vnc == VncEndpoint("/run/vnc", None, WORD)


@pytest.mark.parametrize("port", ["0", "-1", "65536", "5900 ", "٣٣٣٣", "0x17", "5" * 200, "\x1b[2J"])
def test_a_port_that_is_none(host: Host, offhost: OffHost, port: str) -> None:
    domid, top = added(offhost)
    offhost.store.write(f"{top}/console/vnc-port", port)
    assert host.domains[domid].endpoints().vnc is None


@pytest.mark.parametrize(
    "path", ["", "/dev/sda", "/dev/pts/../mem", "/dev/pts/", "/dev/pts/1\n", "/dev/pts/" + "1" * 11]
)
def test_a_terminal_that_is_none(host: Host, offhost: OffHost, path: str) -> None:
    domid, top = added(offhost)
    for node in ("console/tty", "serial/0/tty"):
        offhost.store.write(f"{top}/{node}", path)
    assert host.domains[domid].endpoints().consoles == ()


def test_serial_ports(host: Host, offhost: OffHost) -> None:
    domid, top = added(offhost)
    for number in ("10", "2", "x", "03"):
        offhost.store.write(f"{top}/serial/{number}/tty", f"/dev/pts/{number}")
    found = host.domains[domid].endpoints().consoles
    assert found == (
        ConsoleEndpoint(ConsoleType.SERIAL, 2, "/dev/pts/2"),
        ConsoleEndpoint(ConsoleType.SERIAL, 10, "/dev/pts/10"),
    )


def channel(offhost: OffHost, domid: int, devid: int, **nodes: str) -> str:
    """Write libxl's record of a channel, and return the folder of its frontend."""
    record = f"/libxl/{domid}/device/console/{devid}"
    nodes = {"backend": f"/local/domain/0/backend/console/{domid}/{devid}", "name": "org.example", **nodes}
    for name, value in nodes.items():
        offhost.store.write(f"{record}/{name}", value)
    return f"/local/domain/{domid}/device/console/{devid}"


def test_channels(host: Host, offhost: OffHost) -> None:
    domid, _ = added(offhost)
    web = host.domains[domid]
    channel(offhost, domid, 2, connection="socket", path="/run/channel")
    front = channel(offhost, domid, 1, connection="pty")
    channel(offhost, domid, 3, connection="socket", path="/run/3", backend=f"/local/domain/7/backend/console/{domid}/3")
    channel(offhost, domid, 4)  # a console
    channel(offhost, domid, 5, connection="smoke", path="/run/5")
    channel(offhost, domid, 6, connection="socket", path="/run/6", backend="/somewhere/else")
    there = (
        ChannelEndpoint("org.example", 2, ChannelConnection.SOCKET, "/run/channel"),
        ChannelEndpoint("org.example", 3, ChannelConnection.SOCKET, "/run/3", 7),
    )
    assert web.endpoints().channels == there  # QEMU has not said yet where the first one is
    offhost.store.write(f"{front}/tty", "/dev/pts/9")
    assert web.endpoints().channels == (ChannelEndpoint("org.example", 1, ChannelConnection.PTY, "/dev/pts/9"), *there)
    offhost.store.write(f"{front}/tty", "/dev/sda")
    assert web.endpoints().channels == there


def test_what_a_guest_writes_does_not_count(host: Host, offhost: OffHost) -> None:
    domid, top = added(offhost)
    web, guest = host.domains[domid], offhost.guest(domid)
    front = channel(offhost, domid, 1, connection="pty")
    written = {
        f"{front}/tty": "/dev/pts/1",
        f"{top}/console/tty": "/dev/pts/2",
        f"{top}/serial/0/tty": "/dev/pts/3",
        f"{top}/console/vnc-port": "5900",
    }
    for path in written:
        folder = path.rpartition("/")[0]
        offhost.store.write(folder)
        offhost.store.permit(folder, f"n{domid}")
    for path, value in written.items():
        guest.store.write(path, value)
    assert web.endpoints() == pyxen.Endpoints(None, None, (), ())
    for path in written:
        offhost.store.permit(path, "n0")  # it is the owner alone that makes the difference
    found = web.endpoints()
    assert found.vnc is not None
    assert [console.path for console in found.consoles] + [each.path for each in found.channels] == [
        "/dev/pts/2",
        "/dev/pts/3",
        "/dev/pts/1",
    ]
