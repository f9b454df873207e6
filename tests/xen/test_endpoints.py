"""Endpoints of guests with a real QEMU: what is said is what xl and libxl say, and something answers there."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from pyxen import Channel, ChannelConnection, ConsoleType, Domain, Host, Vnc
from tests.xen.support import MakeConfig, wait_until, xl

SECONDS = 30


def where_xl_looks(domain: Domain, folder: Path, *options: str) -> str:
    """Return the arguments with which xl begins its viewer."""
    viewer = folder / "viewer"
    viewer.write_text('#!/bin/sh\necho "$@"\n')
    viewer.chmod(0o755)
    done = subprocess.run(
        ["xl", "vncviewer", *options, str(domain.domid)],
        env={**os.environ, "VNCVIEWER": str(viewer)},
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return done.stdout.strip()


def is_terminal(path: str) -> bool:
    """Open a path, and tell whether it is a terminal; it must not become the one that controls this process."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        return os.isatty(fd)
    finally:
        os.close(fd)


def test_a_guest_with_all_of_them(host: Host, tiny: MakeConfig, folder: Path) -> None:
    path = folder / "channel"
    channels = [
        Channel("org.example.terminal", connection="pty"),
        Channel("org.example.socket", connection="socket", path=path),
    ]
    vnc = Vnc(enable=True, display=3)  # without a password: the QEMU of some releases of Debian lacks the cipher for it
    domain = host.create(tiny("hvm", vnc=vnc, serial=["pty", "null", "pty"], channels=channels), timeout=180)
    wait_until(lambda: len(domain.endpoints().consoles) == 3 and len(domain.endpoints().channels) == 2)
    found = domain.endpoints()

    assert found.vnc is not None
    assert found.vnc.port is not None
    assert where_xl_looks(domain, folder, "--autopass") == f"{found.vnc.address}:{found.vnc.port - 5900}"
    assert found.vnc.password is None
    with socket.create_connection((found.vnc.address, found.vnc.port), SECONDS) as server:
        server.settimeout(SECONDS)
        assert server.recv(4) == b"RFB "
    assert found.spice is None

    keys = [(console.type, console.number) for console in found.consoles]
    assert keys == [(ConsoleType.PV, 0), (ConsoleType.SERIAL, 0), (ConsoleType.SERIAL, 2)]
    assert len({console.path for console in found.consoles}) == 3
    assert all(is_terminal(console.path) for console in found.consoles)

    listed = [line.split() for line in xl("channel-list", str(domain.domid)).splitlines()[1:]]
    told = [(str(each.backend_domid), str(each.connection)) for each in found.channels]
    assert told == [(line[1], line[5]) for line in listed]
    assert found.channels[0].path == listed[0][6]  # xl does not show the path of a socket
    assert [each.devid for each in found.channels] == [1, 2]
    assert [each.name for each in found.channels] == ["org.example.terminal", "org.example.socket"]
    assert found.channels[1].connection is ChannelConnection.SOCKET
    assert found.channels[1].path == str(path)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(SECONDS)
        channel.connect(found.channels[1].path)
    assert is_terminal(found.channels[0].path)
    domain.destroy()


def test_a_screen_on_a_socket(host: Host, tiny: MakeConfig, folder: Path) -> None:
    path = folder / "vnc"
    domain = host.create(tiny("hvm", vnc=Vnc(listen=f"unix:{path}", unused=False)), timeout=180)
    vnc = domain.endpoints().vnc
    assert vnc is not None
    assert (vnc.address, vnc.port, vnc.password) == (str(path), None, None)
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(SECONDS)
        server.connect(vnc.address)
        assert server.recv(4) == b"RFB "
    domain.destroy()


def test_a_guest_without_a_screen(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pvh"))
    wait_until(lambda: domain.endpoints().consoles != ())
    found = domain.endpoints()
    assert (found.vnc, found.spice, found.channels) == (None, None, ())
    assert [(console.type, console.number) for console in found.consoles] == [(ConsoleType.PV, 0)]
    domain.destroy()
