"""Any text gives a result or a ConfigError: never another exception, a hang or a recursion error."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyxen import xlcfg
from pyxen.errors import ConfigError
from pyxen.xlcfg.keys import KEYS
from tests.oracle import configs

WORDS = st.sampled_from(
    [
        *KEYS,
        "=",
        "+=",
        "[",
        "]",
        ",",
        ";",
        "\n",
        '"',
        "'",
        "#",
        "1",
        "0x1f",
        " ",
        "\\",
        "=[",
        "='",
        "'\n",
        "\x00",
        "\udc80",
        "é",
    ]
)


def swallow(text: str | bytes) -> None:
    """Put a text through everything."""
    for call in (lambda: xlcfg.loads(text, on_loss="ignore"), lambda: xlcfg.lint(text)):
        with suppress(ConfigError):
            call()
    with suppress(ConfigError):
        document = xlcfg.parse(text)
        assert str(document) == text or str(document).encode("utf-8", "surrogateescape") == text
        assert dict(document) == dict(document.items())


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    swallow(data)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=30).map("".join))
def test_any_words(text: str) -> None:
    swallow(text)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(KEYS)), st.sampled_from(["hvm", "pv", "pvh"]), st.text(max_size=40))
def test_any_value_of_any_key(key: str, guest: str, value: str) -> None:
    document = xlcfg.parse(f'name="x"\ntype="{guest}"\nkernel="/k"\n')
    value = value.replace("\0", "")
    for one in (value, [value], [[value]]):
        document[key] = one
        swallow(str(document))


def test_broken_values_of_every_key() -> None:
    source = random.Random(1)  # noqa: S311 (the same in every run)
    for key in KEYS:
        for value in configs.values(key):
            at = source.randrange(len(value) + 1)
            for broken in (
                value[:at],
                value[:at] + value[at + 1 :],
                value[:at] + source.choice("=,:[]'\"-0 9") + value[at:],
            ):
                swallow(f'name="x"\ntype="hvm"\n{key} = {broken}\n')


@pytest.mark.parametrize(
    "value",
    [
        "9" * 10_000,
        "[" * 1000,
        "'" + "9" * 10_000 + "'",
        "['" + "9" * 10_000 + "']",
        "['" + "f" * 10_000 + "']",
        "[ " + "[], " * 1500 + "]",
    ],
    ids=["digits", "brackets", "digits in quotes", "digits in a list", "hexadecimal", "lists"],
)
def test_huge_values_of_every_key(value: str) -> None:
    for key in KEYS:
        swallow(f'name="x"\ntype="hvm"\n{key} = {value}\n')


@pytest.mark.parametrize("line", ["k{}=1\n", "acpi='{}'\n", "memory={}\n", "vif=['{}=1']\n"])
def test_many_findings_take_seconds(line: str) -> None:
    text = "".join(line.format(n) for n in range(50_000)) + "name='x'\nkernel='/k'\n"
    start = time.process_time()
    xlcfg.loads(text, on_loss="ignore")
    xlcfg.lint(text)
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    "text",
    [
        "vcpus=8192\ncpus=[" + "'0-32767'," * 8192 + "]",
        "vnuma=[['size=64'," + "'vcpus=0-32767'," * 30_000 + "'vcpus=0']]",
        "vif=[]\n" + "vif+=['z=1']\n" * 30_000,
        "disk=['\\n" + "phy:" * 250_000 + "b']",
        "cpuid=[" + ",".join(f"'{n}'" for n in range(60_000)) + "]",
    ],
    ids=lambda text: text[:5],
)
def test_much_in_one_key_takes_seconds(text: str) -> None:
    start = time.process_time()
    swallow(f"name='x'\ntype='hvm'\n{text}\n")
    assert time.process_time() - start < 20


def test_large_lists_take_seconds() -> None:
    items = ",\n".join(f"'/dev/vg/disk{n},raw,xvd{n},rw'" for n in range(20_000))
    start = time.process_time()
    config = xlcfg.loads(f"name='x'\ntype='hvm'\ndisk=[{items}]\nfoo=1\n", on_loss="ignore")
    assert len(config.disks) == 20_000
    assert time.process_time() - start < 20
