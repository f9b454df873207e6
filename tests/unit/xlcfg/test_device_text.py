"""Single devices in xl's format: `Device.from_xl`, `Device.to_xl` and ``str(device)``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyxen.config import (
    P9,
    Channel,
    Connector,
    Device,
    Disk,
    DomainConfig,
    Pci,
    Pvcalls,
    Sdl,
    UsbCtrl,
    UsbDev,
    Vdispl,
    Vfb,
    Vif,
    Virtio,
    Vkb,
    Vnc,
    Vsnd,
    VsndPcm,
    VsndStream,
    Vtpm,
)
from pyxen.config.device import Grammar
from pyxen.config.device_table import KINDS
from pyxen.errors import ConfigError, LossyConversion, ParseError, ValidationError
from pyxen.losses import LossWarning
from pyxen.testing.strategies import devices
from pyxen.xlcfg import device_text

GRAMMAR: Grammar = device_text
"""For mypy, which sees here that the module has all that `Device` calls."""

KINDS_BY_CLASS = {kind.part: kind for kind in KINDS}
CLASSES: list[type[Device]] = [kind.part for kind in KINDS]

PASSWORD = "Geheim!"  # noqa: S105 (it must not be seen)

UUID = "6f6d2c2e-8b3a-4f7e-9f0e-0c8f4b1f2a3d"

EXAMPLES: list[tuple[str, Device]] = [
    ("phy:/dev/vg/a,xvda,w", Disk("/dev/vg/a", vdev="xvda")),
    ("/srv/a.qcow2,qcow2,hda,ro", Disk("/srv/a.qcow2", vdev="hda", format="qcow2", readonly=True)),
    (",,hdc:cdrom,r", Disk("", vdev="hdc", cdrom=True)),
    ("vdev=xvdb,script=block-drbd,target=a,b", Disk("a,b", vdev="xvdb", script="block-drbd")),
    ("mac=00:16:3e:12:34:56,bridge=xenbr0,rate=1MB/s", Vif("xenbr0", mac="00:16:3e:12:34:56", rate="1MB/s")),
    ("", Vif()),
    ("03:00.0@1f,permissive=1", Pci("0000:03:00.0", vslot=0x1F, permissive=True)),
    ("type=devicemodel,version=2,ports=4", UsbCtrl(type="devicemodel", version=2, ports=4)),
    ("hostbus=1,hostaddr=3", UsbDev(hostbus=1, hostaddr=3)),
    ("vnc=1,vncdisplay=3,keymap=de", Vfb(vnc=Vnc(enable=True, display=3), keymap="de")),
    ("backend-type=linux,feature-abs-pointer=1", Vkb(backend_type="linux", feature_abs_pointer=True)),
    (f"backend=mgr,uuid={UUID}", Vtpm("mgr", uuid=UUID)),
    ("tag=t,path=/srv,security_model=none", P9(tag="t", path="/srv", security_model="none")),
    ("backend=net", Pvcalls("net")),
    ("type=virtio,device22,transport=mmio", Virtio(type="virtio,device22", transport="mmio")),
    ("connection=socket,path=/run/x,name=a", Channel("a", connection="socket", path="/run/x")),
    ("be-alloc=1,connectors=0:1920x1080", Vdispl(connectors=[Connector("0", 1920, 1080)], be_alloc=True)),
    (
        '["CARD, short-name=a", "PCM, name=p", "STREAM, unique-id=0, type=p"]',
        Vsnd(short_name="a", pcms=[VsndPcm("p", streams=[VsndStream("p", unique_id="0")])]),
    ),
]


@pytest.mark.parametrize(("text", "device"), EXAMPLES)
def test_a_device_and_its_text(text: str, device: Device) -> None:
    kind = type(device)
    assert kind.from_xl(text) == device
    assert kind.from_xl(str(device)) == device
    assert kind.from_xl(device.to_xl()) == device


def test_every_class_has_an_example() -> None:
    assert {type(device) for _, device in EXAMPLES} == set(CLASSES)


def canonical(device: Device) -> DomainConfig:
    return DomainConfig("x").replace(**{KINDS_BY_CLASS[type(device)].field: (device,)}).canonical()


@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_without_loss_reads_as_the_same_device(kind: type[Device], data: st.DataObject) -> None:
    device = data.draw(devices(kind))
    shown = str(device)
    try:
        text = device.to_xl()
    except LossyConversion:
        pass  # `test_what_xl_cannot_say_is_a_loss` has the reasons
    else:
        assert canonical(kind.from_xl(text, on_loss="raise")) == canonical(device)
        assert shown == text or "***" in shown
    lossy = device.to_xl(on_loss="ignore")
    try:
        read = kind.from_xl(lossy, on_loss="raise")
    except ParseError:
        return
    # What has been read once is written without a loss, and exactly.
    assert kind.from_xl(read.to_xl(), on_loss="raise") == read


ODD = st.text(st.sampled_from("a=,;:[]'\"\\\n\t \x1b\udce9é1"), max_size=12)


@given(text=ODD, kind=st.sampled_from(CLASSES))
def test_odd_texts_raise_nothing_but_parse_errors(text: str, kind: type[Device]) -> None:
    try:
        device = kind.from_xl(text, on_loss="ignore")
    except ParseError:
        return
    assert kind.from_xl(device.to_xl(on_loss="ignore"), on_loss="ignore") == device


@given(odd=ODD)
def test_no_device_is_too_odd_to_be_shown(odd: str) -> None:
    # Words like these have no place in xl's text, so they are left out.
    for device in (
        Disk(odd, vdev=odd, script=odd, backend=odd),
        Vif(odd, ip=odd, vifname=odd, backend_domid=3, devid=7),
        Vfb(vnc=Vnc(listen=odd, passwd=odd), sdl=Sdl(display=odd), keymap=odd),
        Vsnd(short_name=odd, pcms=[VsndPcm(odd)]),
        Vdispl(connectors=[Connector(odd, 1, 2)]),
        Virtio(type=odd),
        Channel(odd, path=odd),
        Pci(name=odd),
        P9(tag=odd, path=odd),
        Vtpm(odd),
    ):
        assert isinstance(str(device), str)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not Pci])
def test_a_device_without_settings_is_shown(kind: type[Device]) -> None:
    assert isinstance(str(kind()), str)


def test_passwords_are_not_shown() -> None:
    vfb = Vfb(vnc=Vnc(enable=True, passwd=PASSWORD))
    disk = Disk("rbd:pool/image:id=admin:key=Geheim!", vdev="xvda")
    assert str(vfb) == "vnc=1,vncpasswd=***"
    assert "Geheim" not in str(disk)
    for device in (vfb, disk):
        assert "Geheim" in device.to_xl()
        assert type(device).from_xl(device.to_xl()) == device
    with pytest.raises(LossyConversion) as lost:
        Vfb(vnc=Vnc(passwd=f"{PASSWORD},")).to_xl()
    assert "Geheim" not in str(lost.value)
    with pytest.raises(ParseError) as refused:
        Vkb.from_xl("vncpasswd=Geheim")
    assert "Geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("device", "path", "reason"),
    [
        (Vif("a,b"), "bridge", "cannot say this value"),
        (Vif("a", backend_domid=3), "backend_domid", "no word for it"),
        (UsbCtrl(devid=0), "devid", "the place in the list"),
        (Vdispl(connectors=[Connector("0", 1, 2)], devid=5), "devid", "the place in the list"),
        (Disk("/x"), "disk", "xl would refuse it: the disk's name in the guest is missing"),
        (Vfb(keyboard=False), "keyboard", "no word for it"),
    ],
)
def test_what_xl_cannot_say_is_a_loss(device: Device, path: str, reason: str) -> None:
    with pytest.raises(LossyConversion) as caught:
        device.to_xl()
    (loss,) = caught.value.losses
    assert loss.path == path
    assert reason in loss.reason
    with pytest.warns(LossWarning):
        assert device.to_xl(on_loss="warn") == device.to_xl(on_loss="ignore")


@pytest.mark.parametrize(
    ("kind", "text", "path", "message"),
    [
        (Disk, "/dev/x,xvda", "disk", "'xvda' stands where the format belongs"),
        (Vif, "rate=fast", "vif", "'fast' is not a rate"),
        (Vif, "mtu=2147483648", "vif", "mtu: 2147483648 is out of range"),
        (Pci, "gpu", "pci", "'gpu' is neither an address nor a setting"),
        (Disk, "a\0b", "disk", "NUL"),
        (Vsnd, "CARD", "vsnd", "is unexpected here: expected a value"),
        (Vsnd, '["CARD"]\nname = "x"', "vsnd", "a list in brackets is needed"),
        (Vsnd, '"CARD"', "vsnd", "a list in brackets is needed"),
        (Vsnd, '["CARD", ["PCM"]]', "vsnd", "strings only"),
        (Disk, None, "disk", "a string is needed, not None"),
        (Disk, b"/x,raw,xvda", "disk", "a string is needed, not bytes"),
        (Vif, "bridge=\ud800", "vif", "half of a surrogate pair"),
    ],
)
def test_what_xl_refuses(kind: type[Device], text: Any, path: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        kind.from_xl(text)
    assert caught.value.path == path
    assert message in str(caught.value)


def test_the_place_of_an_error_in_a_list() -> None:
    with pytest.raises(ParseError) as caught:
        Vsnd.from_xl('["CARD" "PCM"]')
    assert (caught.value.line, caught.value.column) == (1, 9)


def test_what_xl_ignores() -> None:
    with pytest.warns(LossWarning, match="vif = bogus=1: xl warns that it does not know it"):
        assert Vif.from_xl("bridge=a,bogus=1") == Vif("a")
    assert Vif.from_xl("bridge=a,bogus=1", on_loss="ignore") == Vif("a")
    with pytest.raises(LossyConversion):
        Vif.from_xl("bridge=a,bogus=1", on_loss="raise")


def test_a_class_of_ones_own() -> None:
    class Mine(Disk):
        """A disk of a program's own."""

    assert type(Mine.from_xl("/x,raw,xvda,w")) is Mine
    assert str(Mine("/x", vdev="xvda")) == str(Disk("/x", vdev="xvda"))
    with pytest.raises(ConfigError, match=r"these classes have one: Channel, Disk"):
        Device.from_xl("/x,raw,xvda,w")


def test_a_text_where_a_device_belongs() -> None:
    with pytest.raises(ValidationError, match=r"disks\[0\]: takes a Disk, not 'phy:/x,xvda,w'; Disk.from_xl reads"):
        DomainConfig("x", disks=["phy:/x,xvda,w"])  # type: ignore[list-item]  # as somebody may
