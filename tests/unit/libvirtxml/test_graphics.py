"""The screen of an HVM guest: libvirt's Xen driver turns on one, SPICE or else the first."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from pyxen import conversion, libvirtxml
from pyxen.config import DomainConfig, Sdl, Spice, Vfb, Vnc
from pyxen.errors import LossyConversion
from pyxen.losses import LossWarning
from tests.unit.libvirtxml.documents import hvm, pv, read_hvm, read_pv

PHRASE = "hush"
HERE = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 (it is read and written, nothing listens there)
OFF = Vnc(enable=False)

SPICE = "<graphics type='spice' port='6000' keymap='de'/>"
VNC = "<graphics type='vnc' port='5901' keymap='fr'/>"
SDL = "<graphics type='sdl' display=':0'/>"


def guest(**fields: Any) -> DomainConfig:
    """Return an HVM guest."""
    return DomainConfig("web1", type="hvm", memory=512, **fields)


LISTENING = {
    "nothing said": ("", "", HERE),
    "an empty attribute": (" listen=''", "", HERE),
    "an attribute": (" listen='192.0.2.1'", "", "192.0.2.1"),
    "an element without an address": ("", "<listen type='address'/>", HERE),
    "an empty address": ("", "<listen type='address' address=''/>", HERE),
    "an element that leaves it to the attribute": (" listen='192.0.2.1'", "<listen type='address'/>", "192.0.2.1"),
    "both": (" listen='192.0.2.1'", "<listen type='address' address='192.0.2.1'/>", "192.0.2.1"),
    "everywhere": ("", f"<listen type='address' address='{EVERYWHERE}'/>", EVERYWHERE),
}


@pytest.mark.parametrize(("attribute", "element", "address"), LISTENING.values(), ids=LISTENING)
def test_where_a_server_listens(attribute: str, element: str, address: str) -> None:
    spice = f"<graphics type='spice' port='6000'{attribute}>{element}</graphics>"
    vnc = f"<graphics type='vnc' port='5901'{attribute}>{element}</graphics>"
    assert read_hvm(devices=spice).spice.host == address
    # Without an address, a VNC server of libxl's listens on 127.0.0.1; an empty one would mean everywhere.
    assert read_hvm(devices=vnc).vnc.listen == (None if address == HERE else address)
    assert read_pv(devices=vnc).vfbs[0].vnc.listen == (None if address == HERE else address)


@pytest.mark.parametrize("kind", ["network' network='default", "socket", "none"])
@pytest.mark.parametrize("server", ["spice", "vnc"])
def test_only_the_first_listen_counts(kind: str, server: str) -> None:
    text = hvm(
        devices=f"<graphics type='{server}' port='5901' listen='{EVERYWHERE}'><listen type='{kind}'/>"
        f"<listen type='address' address='{EVERYWHERE}'/></graphics>"
    )
    config = libvirtxml.loads(text, on_loss="ignore")
    assert (config.spice.host, config.vnc.listen) == ((HERE, None) if server == "spice" else (None, None))
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(text)
    path = "devices[1]/graphics[1]"
    lost = {loss.path for loss in caught.value.losses}
    assert {f"{path}/@listen", f"{path}/listen[1]", f"{path}/listen[2]"} <= lost


@pytest.mark.parametrize("host", [None, "", EVERYWHERE])
def test_a_spice_server_everywhere_is_written_so(host: str | None) -> None:
    config = guest(spice=Spice(enable=True, port=6000, disable_ticketing=True, host=host), vnc=OFF)
    text = libvirtxml.dumps(config)
    assert f"<listen type='address' address='{EVERYWHERE}'/>" in text
    assert libvirtxml.losses(config) == ()
    assert libvirtxml.normal(libvirtxml.loads(text)) == libvirtxml.normal(config)


def test_an_address_that_xml_cannot_say_opens_nothing_to_others() -> None:
    config = guest(spice=Spice(enable=True, port=6000, disable_ticketing=True, host="a b"), vnc=OFF)
    assert [loss.path for loss in libvirtxml.losses(config)] == ["spice.host"]
    assert libvirtxml.loads(libvirtxml.dumps(config, on_loss="ignore")).spice.host == HERE


SHOWN = {
    "SPICE before VNC": (SPICE + VNC, "spice", "de", [2]),
    "SPICE behind VNC": (VNC + SPICE, "spice", "de", [1]),
    "SPICE behind SDL": (SDL + SPICE, "spice", "de", [1]),
    "the first of two SPICE servers": (SPICE + "<graphics type='spice' port='7000'/>", "spice", "de", [2]),
    "VNC before SDL": (VNC + SDL, "vnc", "fr", [2]),
    "SDL before VNC": (SDL + VNC, "sdl", None, [2]),
    "all": (SDL + VNC + SPICE, "spice", "de", [1, 2]),
}


@pytest.mark.parametrize(("devices", "shown", "keymap", "lost"), SHOWN.values(), ids=SHOWN)
def test_one_screen_is_read(devices: str, shown: str, keymap: str | None, lost: list[int]) -> None:
    config = libvirtxml.loads(hvm(devices=devices), on_loss="ignore")
    on = {"spice": config.spice.enable, "vnc": config.vnc.enable, "sdl": config.sdl.enable}
    assert {name for name, value in on.items() if value} == {shown}
    assert config.vnc.enable is (shown == "vnc")
    assert config.keymap == keymap
    if shown == "spice":
        assert config.spice.port == 6000
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(hvm(devices=devices))
    assert [loss.path for loss in caught.value.losses] == [f"devices[1]/graphics[{number}]" for number in lost]
    assert "one screen" in caught.value.losses[0].reason


def test_other_guests_have_a_framebuffer_for_each() -> None:
    assert [vfb.vnc.enable for vfb in read_pv(devices=VNC + SDL).vfbs] == [True, False]
    with pytest.raises(LossyConversion, match="graphics"):
        libvirtxml.loads(pv(devices=VNC + SPICE))
    config = DomainConfig("web1", kernel="/k", memory=512, vfbs=[Vfb(vnc=Vnc(enable=True)), Vfb(vnc=Vnc(enable=True))])
    assert libvirtxml.dumps(config).count("<graphics") == 2


ON = Spice(enable=True, port=6000, disable_ticketing=True, host=HERE)
WRITTEN = {
    "SPICE and VNC": ({"spice": ON, "vnc": Vnc(enable=True)}, "spice", ["vnc.enable"]),
    "SPICE, and VNC with a password": ({"spice": ON, "vnc": Vnc(passwd=PHRASE)}, "spice", ["vnc.enable"]),
    "SPICE and SDL": ({"spice": ON, "vnc": OFF, "sdl": Sdl(enable=True)}, "spice", ["sdl.enable"]),
    "VNC and SDL": ({"vnc": Vnc(enable=True), "sdl": Sdl(enable=True)}, "vnc", ["sdl.enable"]),
}


@pytest.mark.parametrize(("fields", "shown", "lost"), WRITTEN.values(), ids=WRITTEN)
def test_one_screen_is_written(fields: dict[str, Any], shown: str, lost: list[str]) -> None:
    config = guest(**fields)
    found = libvirtxml.losses(config)
    assert [loss.path for loss in found] == lost
    assert "one screen" in found[0].reason
    with pytest.raises(LossyConversion):
        libvirtxml.dumps(config)
    text = libvirtxml.dumps(config, on_loss="ignore")
    assert text.count("<graphics") == 1
    assert f"<graphics type='{shown}'" in text
    libvirtxml.loads(text)


@pytest.mark.parametrize("fields", [{"spice": ON}, {"sdl": Sdl(enable=True)}], ids=["SPICE", "SDL"])
def test_a_vnc_server_that_nobody_asked_for_is_no_obstacle(fields: dict[str, Any]) -> None:
    """Unless it is switched off, libxl has one beside any other screen. That libvirt has none is told, not refused."""
    config = guest(**fields)
    assert [loss.path for loss in libvirtxml.losses(config)] == ["vnc.enable"]
    with pytest.warns(LossWarning, match=r"vnc\.enable.*vnc\.enable=False"):
        text = libvirtxml.dumps(config)
    assert text.count("<graphics") == 1
    assert "type='vnc'" not in text
    with pytest.warns(LossWarning):
        assert libvirtxml.loads(libvirtxml.patch(hvm(devices=VNC), config)).vnc.enable is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert libvirtxml.dumps(config, on_loss="ignore") == text
        assert libvirtxml.dumps(config.replace(vnc=OFF)) == text
        assert conversion.write(config, "libvirt-xml") == (text, libvirtxml.losses(config))
    # With another loss, both are told.
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.dumps(config.replace(pool="fast"))
    assert {loss.path for loss in caught.value.losses} == {"pool", "vnc.enable"}
