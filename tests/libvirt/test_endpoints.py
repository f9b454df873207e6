"""Endpoints as the XML of libvirt's driver for Xen has them."""

from __future__ import annotations

import pytest

from pyxen import (
    ChannelConnection,
    ChannelEndpoint,
    ConsoleEndpoint,
    ConsoleType,
    DomainConfig,
    Endpoints,
    Host,
    Spice,
    SpiceEndpoint,
    Vnc,
    VncEndpoint,
)
from pyxen.backends.libvirt.endpoints import endpoints_of
from pyxen.errors import LossyConversion
from pyxen.losses import LossWarning

XML = """<domain type='xen' id='3'><name>web1</name><devices>
  <serial type='pty'><source path='/dev/pts/4'/><target port='0'/></serial>
  <serial type='file'><source path='/tmp/log'/><target port='1'/></serial>
  <console type='pty' tty='/dev/pts/4'><source path='/dev/pts/4'/><target type='serial' port='0'/></console>
  <console type='pty' tty='/dev/pts/5'><target type='xen' port='0'/></console>
  <channel type='unix'><source mode='bind' path='/run/agent'/><target type='xen' name='org.agent'/></channel>
  <channel type='pty'><source path='/dev/pts/6'/><target type='xen' name='org.other'/></channel>
  <channel type='pty'><target type='xen' name='org.later'/></channel>
  <graphics type='vnc' port='5901' autoport='yes' listen='0.0.0.0' passwd='word77'>
    <listen type='address' address='0.0.0.0'/>
  </graphics>
  <graphics type='spice' port='-1' tlsPort='5903' passwd='word88'/>
</devices></domain>"""


def graphics(element: str) -> Endpoints:
    """Return the endpoints of a domain with one screen."""
    return endpoints_of(f"<domain><devices>{element}</devices></domain>")


def test_all_of_them() -> None:
    assert endpoints_of(XML) == Endpoints(
        vnc=VncEndpoint("0.0.0.0", 5901, "word77"),  # noqa: S104 (it is read, nothing listens there)
        spice=SpiceEndpoint("127.0.0.1", None, 5903, "word88", needs_password=True),
        consoles=(
            ConsoleEndpoint(ConsoleType.PV, 0, "/dev/pts/5"),
            ConsoleEndpoint(ConsoleType.SERIAL, 0, "/dev/pts/4"),
        ),
        channels=(
            ChannelEndpoint("org.agent", 0, ChannelConnection.SOCKET, "/run/agent"),
            ChannelEndpoint("org.other", 1, ChannelConnection.PTY, "/dev/pts/6"),
        ),
    )


def test_of_an_hvm_guest_one_screen_is_on() -> None:
    vnc, sdl = "<graphics type='vnc' port='5901'/>", "<graphics type='sdl'/>"
    spice = "<graphics type='spice' port='5902'/>"

    def on(graphics: str) -> tuple[bool, bool]:
        text = f"<domain type='xen'><os><type>hvm</type></os><devices>{graphics}</devices></domain>"
        found = endpoints_of(text)
        return found.vnc is not None, found.spice is not None

    assert on(vnc + spice) == on(spice + vnc) == (False, True)
    assert on(vnc + sdl) == (True, False)
    assert on(sdl + vnc) == (False, False)


def test_a_guest_with_spice_alone_is_created(host: Host) -> None:
    """Nobody asked for the VNC server that libxl would have as well: libvirt has none, and a warning says so."""
    spice = Spice(enable=True, port=6000, disable_ticketing=True)
    config = DomainConfig("web1", type="hvm", memory=64, spice=spice)
    with pytest.warns(LossWarning, match=r"vnc\.enable"):
        web = host.create(config, paused=True)
    assert web.endpoints().spice == SpiceEndpoint("0.0.0.0", 6000, None, needs_password=False)  # noqa: S104 (read)
    assert web.endpoints().vnc is None
    with pytest.raises(LossyConversion, match=r"vnc\.enable"):
        host.create(config.replace(name="web2", vnc=Vnc(enable=True)))
    host.create(config.replace(name="web3", vnc=Vnc(enable=False)))


def test_a_port_that_is_not_chosen_yet() -> None:
    assert graphics("<graphics type='vnc' port='-1' autoport='yes'/>").vnc is None
    assert graphics("<graphics type='spice' autoport='yes'/>").spice is None


def test_a_screen_on_a_socket() -> None:
    vnc = VncEndpoint("/run/vnc", None)
    assert graphics("<graphics type='vnc' socket='/run/vnc'/>").vnc == vnc
    assert graphics("<graphics type='vnc'><listen type='socket' socket='/run/vnc'/></graphics>").vnc == vnc
