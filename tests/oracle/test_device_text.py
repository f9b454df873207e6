"""Single devices in xl's format: `from_xl` reads what the real xl reads, which reads what `to_xl` writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyxen import xlcfg
from pyxen.config import Device, Vif
from pyxen.config.device_table import KINDS
from pyxen.errors import ParseError
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.keys import KEYS, release
from pyxen.xlcfg.values import format_value
from tests.oracle import configs
from tests.oracle.compare import seen, theirs
from tests.oracle.server import Refused
from tests.oracle.xl import XlOracle

CLASSES = {GRAMMARS[key].part: key for key in GRAMMARS}
BASE = configs.base("hvm")


def texts(key: str, xen: str) -> Iterator[str]:
    """Yield the items of the corpus for a key, as `from_xl` takes them, that a release of xl knows."""
    newer = configs.NEWER_WORDS.get(xen, ())
    for value in configs.values(key):
        if any(word in f"{key} = {value}" for word in newer):
            continue
        items = xlcfg.parse(f"{key} = {value}\n")[key]
        for item in items if isinstance(items, list) else []:
            if key == "vsnd" and isinstance(item, list):
                yield format_value(item)
            elif key != "vsnd" and isinstance(item, str):
                yield item


def in_a_list(key: str, text: str) -> str:
    return f"{BASE}{key} = [{text if key == 'vsnd' else format_value(text)}]\n"


def test_every_kind_of_device_has_a_text() -> None:
    assert set(CLASSES) == {kind.part for kind in KINDS}


@pytest.mark.parametrize("key", GRAMMARS)
def test_every_item_of_the_corpus(xl: XlOracle, key: str) -> None:
    if release(KEYS[key].since or "4.17") > release(xl.release):
        assert xlcfg.lint(in_a_list(key, ""), xen=xl.release)  # there is no oracle, but lint says so
        return
    kind: type[Device] = GRAMMARS[key].part
    taken = 0
    for text in texts(key, xl.release):
        expected = theirs(xl, in_a_list(key, text))
        if isinstance(expected, Refused):
            with pytest.raises(ParseError):
                kind.from_xl(text, on_loss="ignore")
            continue
        taken += 1
        device = kind.from_xl(text, on_loss="ignore")
        config = xlcfg.loads(BASE).replace(**{KEYS[key].field: [device]})
        assert seen(config) == expected, text
        assert theirs(xl, in_a_list(key, device.to_xl(on_loss="ignore"))) == expected, device.to_xl(on_loss="ignore")
    # This xl reads p9 otherwise than its manual and later releases do.
    assert taken or key in configs.NEWER_WORDS[xl.release]


# Blanks around a value, and other ways to write an address.
VIFS = (
    "mac=00:16:3e:00:00:01 ",
    "mac= 00:16:3e:00:00:01",
    "mac=00:16:3e:00:00:01 ,bridge=x",
    "mac=00:16:3e:00:00:01\t, bridge=x",
    "mac=00: 16:3e:00:00:01",
    "mac=00 16 3e 00 00 01",
    "mac=00-16-3e-00-00-01",
    "mac=0:16:3e:0:0:1",
    "mac=00:16:3e:00:00:+1",
    "mac=00:16:3e:00:00:01x",
    "mac=00:16:3e:00:00:01\u00a0",
    "mac =00:16:3e:00:00:01",
    " mac=00:16:3e:00:00:01",
    "ip=192.0.2.1 ,mac=00:16:3e:00:00:01",
    "ip= 192.0.2.1",
    " bridge=x , vifname= v ",
)


def test_blanks_in_vifs(xl: XlOracle) -> None:
    for text in VIFS:
        config = xlcfg.loads(BASE).replace(vifs=[Vif.from_xl(text, on_loss="ignore")])
        assert seen(config) == theirs(xl, in_a_list("vif", text)), text


def test_bytes_that_are_not_utf8(xl: XlOracle) -> None:
    answer = xl.create('name = "caf\xe9"\nkernel = "/k"\n'.encode("latin-1"))
    assert not isinstance(answer, Refused)
    assert answer["c_info"]["name"] == xlcfg.loads('name = "caf\xe9"\nkernel = "/k"\n'.encode("latin-1")).name
