"""Messages about xl configurations: short however long the text is, and true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from pyxen import convert, libvirtxml, xlcfg
from pyxen.config import Device, DomainConfig, Vfb, Vif
from pyxen.config.device_table import KINDS
from pyxen.errors import ConfigError, LossyConversion, ValidationError
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.values import format_value
from tests.oracle import configs

LONG = 100_000
LONGEST = 500
"""The longest line of a message; most of it is advice."""

HEAD = 'name = "a"\nkernel = "/k"\n'


def message(call: Callable[[], object]) -> str:
    """Return what a call says that is refused, or loses something; "" if it does not."""
    try:
        call()
    except ConfigError as error:
        return str(error)
    return ""


def spoilt(text: str) -> Iterator[str]:
    """Yield a text with each of its words in turn made very long."""
    yield text + "x" * LONG
    for found in re.finditer(r"[^,=:;@. ]+", text):
        for word in ("x" * LONG, "1" * LONG, " x" * LONG):
            yield text[: found.start()] + word + text[found.end() :]


def check(said: str, text: str) -> None:
    assert max(map(len, said.split("\n"))) < LONGEST, f"{len(said)}: {text[:200]}"
    assert "***" not in said, said  # no word of these texts is a secret


@pytest.mark.parametrize("key", GRAMMARS)
def test_long_words_of_devices(key: str) -> None:
    kind: type[Device] = GRAMMARS[key].part
    told = 0
    for value in configs.values(key):
        items = xlcfg.parse(f"{key} = {value}\n")[key]
        if "passwd" in value or isinstance(items, str):
            continue
        for item in items:
            for text in spoilt(format_value(item) if key == "vsnd" else str(item)):
                said = message(lambda text=text: kind.from_xl(text, on_loss="raise"))  # type: ignore[misc]  # bound now
                told += said != ""
                check(said, text)
    assert told > len(configs.values(key)) / 2


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("guest", ["hvm", "pv"])
def test_long_values(key: str, guest: str) -> None:
    for value in ("x" * LONG, "1" * LONG, ["x" * LONG], [["x" * LONG]], "/x=1," * LONG):
        text = f"{configs.base(guest, without=key)}{key} = {format_value(value)}\n"
        if "passwd" not in key:
            check(message(lambda text=text: xlcfg.loads(text, on_loss="raise")), text)  # type: ignore[misc]  # bound now


def test_a_long_key() -> None:
    check(message(lambda: xlcfg.loads(f"{HEAD}{'x' * LONG} = 1\n", on_loss="raise")), "a key")
    assert max(len(str(found)) for found in xlcfg.lint(f"{HEAD}{'x' * LONG} = 1\n")) < LONGEST


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)
def test_a_long_text_where_a_device_belongs(kind: type) -> None:
    with pytest.raises(ValidationError) as caught:
        DomainConfig.from_dict({"name": "a", kind.field: ["x" * LONG]})  # type: ignore[attr-defined]  # a Kind
    check(str(caught.value), "a device")


def test_blanks_around_an_address_are_no_loss() -> None:
    config = xlcfg.loads(f"{HEAD}memory = 64\nvif = ['ip=192.0.2.1 ,mac=00:16:3e:12:34:56']\n")
    assert config.vifs == (Vif(mac="00:16:3e:12:34:56", ip="192.0.2.1 "),)
    assert libvirtxml.losses(config) == ()
    assert libvirtxml.loads(libvirtxml.dumps(config)).vifs[0].ip == "192.0.2.1"


def test_bytes_that_xml_cannot_hold_have_their_own_reason() -> None:
    _, losses = convert('name = "caf\xe9"\nkernel = "/k"\nmemory = 64\n'.encode("latin-1"), "libvirt-xml")
    assert [(loss.path, loss.reason) for loss in losses] == [
        ("name", "XML cannot hold control characters, nor bytes that are not UTF-8")
    ]


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        ("/x,hdb", "'hdb' stands where the format belongs, which is raw, qcow, qcow2, vhd, qed or empty"),
        ("/x,0x300,w", "'0x300' stands where the format belongs"),
        ("/x,hdb:cdrom,r", "'hdb:cdrom' stands where the format belongs"),
        ("/x,tar,hdb", "'tar' is not a format"),
    ],
)
def test_a_disk_without_its_format(disk: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        xlcfg.loads(f"{HEAD}disk = [{disk!r}]\n")


@pytest.mark.parametrize(
    "line",
    [
        "vncpasswd = hunter2",
        "vncpasswd=1hunter2",
        "spicepasswd = True",
        "vncpassword = 'hunter2'",
        "vnc_passwd = 'hunter2'",
        "vncpass = 'hunter2'",
        "spicepaswd = 'hunter2'",
        "spicepasd = 'hunter2'",
        "vncpswd = 'hunter2'",
        "vncpwd = 'hunter2'",
        "vnc_pas = 'hunter2'",
        "vncword = 'hunter2'",
        "spicepaswd hunter2",
        "vncpaswd = hunter2",
        "vfb = ['vncpaswd=hunter2']",
        "vfb = ['vncpswd hunter2']",
        "vfb = ['vncword=hunter2']",
        "vfb = ['vnc_pwd=a,hunter2']",
        "vfb = ['vnc=1, vncpasswd = hunter2']",
        "vfb = ['vncpasswd='hunter2'']",
        "vfb = ['vncpasswd hunter2']",
        "vfb = ['vnc=1, vncpasswd:hunter2']",
        "vfb = ['vncpasswdd=hunter2']",
        "vfb = ['VNCPassword hunter2']",
        "vfb = ['vncpass=hunter2']",
        "vfb = ['hunter2=vncpasswd']",
        "vfb = ['vncpasswd=a,hunter2']",
        "vfb = ['vncpasswd=a,hunter2=1']",
        "vfb = ['vncpasswd=a,vncdisplay=hunter2']",
        "vfb = 'vncpasswd hunter2'",
        "vfb = ['vnc=1', ['vncpasswd hunter2']]",
        "vfbs = ['vncpasswd hunter2']",
        "disk = ['vdev=xvda, target=nbd://user:hunter2@example.org/x', 'y z']",
    ],
)
def test_misspelt_passwords(line: str) -> None:
    text = f"{HEAD}{line}\n"
    said = message(lambda: xlcfg.loads(text, on_loss="raise"))
    assert said
    for told in (said, *map(repr, xlcfg.lint(text))):
        assert "hunter2" not in told
        assert "True" not in told


@pytest.mark.parametrize("item", ["vncpasswd hunter2", "vncpasswdd=hunter2", "vncpaswd=hunter2", "vncpasswd=a,hunter2"])
def test_misspelt_passwords_of_a_framebuffer(item: str) -> None:
    found = xlcfg.lint(f'name = "a"\ntype = "hvm"\nmemory = 64\nvfb = ["{item}"]\n')  # xl passes over the whole key
    assert [one.code for one in found] == ["other-guest"]
    assert "hunter2" not in repr(found)
    with pytest.raises(LossyConversion) as caught:
        Vfb.from_xl(item, on_loss="raise")
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_what_stands_before_a_password_is_shown() -> None:
    with pytest.raises(LossyConversion, match="odd=1: xl does not know it"):
        Vfb.from_xl("odd=1,vncpasswd=x", on_loss="raise")
