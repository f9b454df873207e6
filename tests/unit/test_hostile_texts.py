"""Texts that another host sends, or somebody's file has: whatever hides secrets in them takes time by their length."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest

from pyxen._common.shown_uri import redacted, secrets_of, shown
from pyxen._printable import printable
from pyxen.config.checks import hide_keys
from pyxen.xlcfg.passwords import has_password

FUNCTIONS: Final = (redacted, shown, secrets_of, hide_keys, has_password, printable)

BEGINNINGS: Final = ("", "://a?b", "x//a:", "://a:", '"password"', "password", "key=", "p")
URIS: Final = ["://a", "://a?b", "://a:", "://a:@", "://a%", "://a:b,", "://:", "://[", "x//a:b", "x//a:b@", "x//"]
WORDS: Final = [*"./:1\\as \x1b", "?a=b", "&c=d", "aw", "pass", "paass", "pass \t", "key=", '"password":"']
ENDS: Final = ("", "x", "@")

SHORT: Final = 250
TIMES: Final = 32
MOST: Final = 8 * TIMES
"""A text that is 32 times as long takes 32 times as long, or 1024 times if each piece is compared with all others."""

NOISE: Final = 0.0005
"""Seconds of a thread's time; what takes less is not measured well."""


def seconds(call: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    call(text)
    return time.thread_time() - begun


@pytest.mark.parametrize("call", FUNCTIONS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("piece", [*URIS, *WORDS])
def test_time_grows_with_the_length(call: Callable[[str], object], piece: str) -> None:
    for begin in BEGINNINGS:
        for end in ENDS:
            short, long = (begin + piece * number + end for number in (SHORT, SHORT * TIMES))
            took = seconds(call, long)
            if took > MOST * NOISE:  # few are: others need no second look
                assert took < MOST * max(NOISE, seconds(call, short)), (begin, end)
