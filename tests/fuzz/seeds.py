"""What fuzzing begins with: valid and nearly valid inputs for each target, and words to put into them.

They are made of the oracles' corpus, so that every key and every device is in some input.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final

import msgspec

from pyxen import DomainConfig, libvirtxml, libxljson, xlcfg
from pyxen._common import savefile
from pyxen.backends.remote.messages import (
    PROTOCOL,
    Answer,
    Bye,
    Call,
    Cancel,
    Data,
    Done,
    End,
    Failed,
    Failure,
    Hello,
    Item,
    Refused,
    Welcome,
)
from pyxen.backends.remote.verbs import VERBS, verb_of
from pyxen.errors import ConfigError
from pyxen.xlcfg.keys import KEYS
from tests.oracle import configs

__all__ = ["seeds", "words"]

_VALUES_OF_A_KEY: Final = 4
"""How many values of each key have a seed; the first ones are valid."""

_STREAM_BEGINNING: Final = struct.pack(">8sII", b"LibxlFmt", 2, 0) + struct.pack("<II", 1, 0)


@cache
def _texts() -> tuple[bytes, ...]:
    """Return xl configurations: each key with a few values, for the guest types in turn."""
    guests = itertools.cycle(("hvm", "pv", "pvh"))
    return tuple(
        f"{configs.base(guest, key)}{key} = {value}\n".encode()
        for key in sorted(KEYS)
        for value, guest in zip(configs.values(key)[:_VALUES_OF_A_KEY], guests, strict=False)
    )


@cache
def _configurations() -> tuple[DomainConfig, ...]:
    found = []
    for text in _texts():
        with suppress(ConfigError):
            found.append(xlcfg.loads(text, on_loss="ignore"))
    return tuple(found)


def _xml() -> Iterator[bytes]:
    yield b"<?xml version='1.0' encoding='iso-8859-1'?><!-- \xe9 --><domain type='xen'><name>x</name></domain>"
    yield b"<!DOCTYPE domain [<!ENTITY x 'y'>]><domain type='kvm'><name>&x;</name><![CDATA[<]]></domain>"
    yield from _dumped(libvirtxml.dumps)


def _json() -> Iterator[bytes]:
    yield b'[{"domid": 1, "config": {"c_info": {"type": "pv", "name": "x"}, "b_info": {"type.pv": {}}}}]'
    yield from _dumped(libxljson.dumps)


def _dumped(dumps: Callable[..., str]) -> Iterator[bytes]:
    for config in _configurations():
        with suppress(ConfigError):
            yield dumps(config, on_loss="ignore").encode()


def _heads() -> Iterator[bytes]:
    for text in itertools.islice(_json(), 3):
        yield savefile.head(text.decode()) + _STREAM_BEGINNING
    yield savefile.head("") + _STREAM_BEGINNING


def _streams() -> Iterator[bytes]:
    def record(kind: int, body: bytes = b"") -> bytes:
        return struct.pack("<II", kind, len(body)) + body.ljust(-(-len(body) // 8) * 8, b"\0")

    checkpoint = record(1, bytes(13)) + record(14)
    yield _STREAM_BEGINNING + bytes(40) + checkpoint
    yield _STREAM_BEGINNING + bytes(40) + checkpoint + record(2, b"xenstore") + record(4) + checkpoint + record(4)


def _frames(*messages: Any) -> bytes:
    frames = [msgspec.msgpack.encode(message) for message in messages]
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def _calls() -> Iterator[bytes]:
    domain = [0, "00000000-0000-0000-0000-000000000000"]
    values = {"domain": domain, "timeout": 0.1, "config": {"name": "x"}, "path": "/a", "paused": True, "key": [0, "x"]}
    for number, name in enumerate(VERBS):
        known = {each: values[each] for each in verb_of(name).names if each in values}
        yield bytes([number]) + msgspec.msgpack.encode(known)


def _of_clients() -> Iterator[bytes]:
    hello = Hello(PROTOCOL, "0.1.0")
    calls = [Call(number, VERBS[each[0]], msgspec.Raw(each[1:])) for number, each in enumerate(_calls(), 1)]
    for call in calls:
        yield _frames(hello, call, Cancel(call.id), Data(call.id, b"x"), End(call.id), Bye())


def _of_servers() -> Iterator[bytes]:
    welcome = Welcome(PROTOCOL, "0.1.0", "xenlight (Xen 4.20)", ("events",), VERBS)
    nothing = msgspec.Raw(msgspec.msgpack.encode([]))
    for last in (
        Answer(1, nothing),
        Done(1, nothing),
        Item(1, nothing),
        Failed(1, Failure("Error", "x")),
        Data(1, b"x"),
    ):
        yield _frames(welcome, last)
    yield _frames(Refused(Failure("NotOnXen", "x")))


_SEEDS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "xlcfg": lambda: iter(_texts()),
    "xlcfg-lint": lambda: iter(_texts()),
    "conversion": lambda: itertools.chain(_texts(), _xml()),
    "libvirtxml": _xml,
    "libvirtxml-patch": _xml,
    "libxljson": _json,
    "savefile": _heads,
    "remus-stream": _streams,
    "received-json": _json,
    "remote-call": _calls,
    "remote-client": _of_clients,
    "remote-server": _of_servers,
}


def seeds(target: str) -> list[bytes]:
    """Return the inputs that fuzzing a target begins with, each once, and the same in every run."""
    return list(dict.fromkeys(_SEEDS[target]()))


def words(target: str) -> list[bytes]:
    """Return words that fuzzing puts into a target's inputs: those of its seeds."""
    found: dict[bytes, None] = {}
    for seed in seeds(target):
        word = b""
        for value in seed:
            letter = bytes([value])
            if letter.isalnum() or letter in b"_-./":
                word += letter
            else:
                if 2 < len(word) < 32:
                    found[word] = None
                word = b""
    return list(found)
