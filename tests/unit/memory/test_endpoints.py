"""Endpoints of simulated domains, and their secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import pyxen.aio
from pyxen import (
    Channel,
    ChannelConnection,
    ConsoleType,
    DomainConfig,
    Endpoints,
    Host,
    Spice,
    SpiceEndpoint,
    Vfb,
    Vnc,
    VncEndpoint,
)

WORD = "geheim77"


@pytest.fixture
def xen() -> Iterator[Host]:
    """A host."""
    with pyxen.connect("memory:///") as xen:
        yield xen


def hvm(name: str, **settings: object) -> DomainConfig:
    """Make the configuration of an HVM guest."""
    return DomainConfig(name, type="hvm", memory=16).replace(**settings)


def test_screens_have_ports_of_their_own(xen: Host) -> None:
    one, two = xen.create(hvm("one")), xen.create(hvm("two", vnc=Vnc(listen="[::1]:0", passwd=WORD)))
    assert one.endpoints().vnc == VncEndpoint("127.0.0.1", 5900)
    assert two.endpoints().vnc == VncEndpoint("::1", 5901, WORD)
    one.destroy()
    assert two.endpoints().vnc == VncEndpoint("::1", 5901, WORD)
    assert xen.create(hvm("three", vnc=Vnc(enable=False))).endpoints().vnc is None
    four = xen.create(hvm("four", vnc=Vnc(display=7, unused=False)))
    assert four.endpoints().vnc == VncEndpoint("127.0.0.1", 5907)
    five = xen.create(hvm("five", vnc=Vnc(listen="unix:/run/vnc")))
    assert five.endpoints().vnc == VncEndpoint("/run/vnc", None)


def test_a_framebuffer_is_a_screen(xen: Host) -> None:
    domain = xen.create(DomainConfig("pv", type="pv", kernel="/kernel", memory=16, vfbs=[Vfb(vnc=Vnc(enable=True))]))
    assert domain.endpoints().vnc == VncEndpoint("127.0.0.1", 5900)


def test_consoles_and_channels(xen: Host) -> None:
    channels = [Channel("org.one", connection="pty"), Channel("org.two", connection="socket", path="/run/two")]
    found = xen.create(hvm("web", serial=["null", "pty"], channels=channels)).endpoints()
    assert [(console.type, console.number) for console in found.consoles] == [
        (ConsoleType.PV, 0),
        (ConsoleType.SERIAL, 1),
    ]
    assert [(channel.name, channel.devid, channel.connection) for channel in found.channels] == [
        ("org.one", 1, ChannelConnection.PTY),
        ("org.two", 2, ChannelConnection.SOCKET),
    ]
    assert found.channels[1].path == "/run/two"
    paths = [console.path for console in found.consoles] + [channel.path for channel in found.channels]
    assert len({*paths}) == 4


def test_dom0_has_none(xen: Host) -> None:
    assert xen.domains[0].endpoints() == Endpoints(None, None, (), ())


def test_passwords_are_secret(xen: Host) -> None:
    spice = Spice(enable=True, port=6000, passwd=WORD)
    found = xen.create(hvm("web", vnc=Vnc(passwd=WORD), spice=spice)).endpoints()
    assert found.spice == SpiceEndpoint(None, 6000, None, WORD, needs_password=True)
    shown = f"{found} {found!r} {found._repr_html_()} {[*found.__rich_repr__()]} {found.vnc} {found.spice}"
    assert WORD not in shown
    assert "6000" in found._repr_html_()
    assert found.to_dict()["vnc"] == {"address": "127.0.0.1", "port": 5900, "password": WORD}


def test_awaited() -> None:
    async def main() -> Endpoints:
        async with pyxen.aio.connect("memory:///") as xen:
            return await (await xen.create(hvm("web"))).endpoints()

    assert asyncio.run(main()).vnc == VncEndpoint("127.0.0.1", 5900)
