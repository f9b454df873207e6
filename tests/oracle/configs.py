"""Configurations for differential tests with xl: values for every key, right and wrong, and Hypothesis strategies.

Values on which pyxen differs from xl on purpose are not here but in test_deviations.py.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from pyxen.xlcfg.keys import KEYS, release

UUID = "6f6d2c2e-8b3a-4f7e-9f0e-0c8f4b1f2a3d"

BOOLEANS = ("1", "0", '"1"', "2", "0x0", "010", '"yes"', '""', "08", '"-1"', "[1]", '" 1"', '"1 "')
NUMBERS = ("1", "64", "0x40", "0100", '"128"', '"x"', '"12 "', "[]", "9fx")
STRINGS = ('"a"', '"some text"', '""', "12", "'quoted'", r'"a\"b\\c"', "[ 'x' ]", '"/dev/x,y=z"')
LISTS = ('[ "a", "b" ]', "[]", '[ "a" ]', '[ "a", [ "b" ], "c" ]', "[ 1 ]")


def lines(name: str) -> tuple[str, ...]:
    """Return the lines of a file of the corpus, without comments."""
    text = (Path(__file__).parent / "corpus" / name).read_text()
    return tuple(line for line in text.split("\n")[:-1] if not line.startswith("#"))


DISKS = lines("disks.txt")
NEWER_DISKS = lines("disks-4.19.txt")
VIFS = lines("vifs.txt")

SPECIAL: dict[str, tuple[str, ...]] = {}
for _line in lines("values.txt"):
    _key, _, _value = _line.partition(" = ")
    SPECIAL[_key] = (*SPECIAL.get(_key, ()), _value)
SPECIAL["disk"] += tuple(f"[ {spec!r} ]" for spec in DISKS)
SPECIAL["vif"] += tuple(f"[ {spec!r} ]" for spec in VIFS)

NEWER_WORDS = {"4.17": ("trusted", "grant_usage", "p9", "vlan", "smbios")}
"""What older xl does not know, or reads otherwise, in values of keys that it has."""

_BY_KIND = {"boolean": BOOLEANS, "integer": NUMBERS, "string": STRINGS, "strings": LISTS, "list": LISTS}


def values(key: str) -> tuple[str, ...]:
    """Return values for a key, right and wrong."""
    return SPECIAL.get(key) or _BY_KIND[KEYS[key].kind]


def keys(xen: str) -> list[str]:
    """Return the keys that a release of xl has."""
    return [name for name, key in KEYS.items() if release(key.since or "4.17") <= release(xen)]


def base(guest: str, without: str = "") -> str:
    """Return the settings that a configuration of a guest type needs, without one key."""
    written = {
        "name": '"web"',
        "type": f'"{guest}"',
        "uuid": f'"{UUID}"',
        "vcpus": "4",
        "kernel": '"/boot/vmlinuz"',
    }
    if guest == "hvm" or without in ("firmware", "bootloader"):
        del written["kernel"]
    return "".join(f"{key} = {value}\n" for key, value in written.items() if key != without)


@st.composite
def configs(draw: st.DrawFn, xen: str) -> str:
    """A configuration of some keys with values that are mostly right, for a release of xl."""
    guest = draw(st.sampled_from(("hvm", "hvm", "pv", "pvh")))
    names = draw(st.lists(st.sampled_from(keys(xen)), max_size=10, unique=True))
    if {"cpus", "cpus_soft"} & set(names):
        # Without a number of vCPUs xl forgets them: one of the deviations.
        names = [name for name in names if name != "vcpus"]
    lines = []
    for name in names:
        choices = values(name)
        # The first values of each key are right ones: most configurations should be taken.
        if draw(st.integers(0, 9)):
            choices = choices[: max(2, len(choices) // 2)]
        lines.append(f"{name} = {draw(st.sampled_from(choices))}\n")
    if draw(st.booleans()):
        specs = draw(st.lists(st.sampled_from(DISKS[:6] + DISKS[8:10]), max_size=3))
        lines.append(f"disk = [ {', '.join(map(repr, specs))} ]\n")
    given = {line.partition(" ")[0] for line in lines}
    head = [line for line in base(guest).splitlines(keepends=True) if line.partition(" ")[0] not in given]
    return "".join(draw(st.permutations(head + lines)))
