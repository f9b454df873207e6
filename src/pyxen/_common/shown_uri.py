"""URIs of hosts in messages, logs and reprs: without their passwords."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote

__all__ = ["redacted", "secrets_of", "shown"]

_MASK: Final = "***"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+|/*")
_USER: Final = re.compile(r"[^:?#]*:")
_ONLY_A_PORT: Final = re.compile(r"[^:]*@[^:@]*:\d*(?:/[^@?#]*)?(?:[?#]|\Z)")
"""A user, a host and a port: the colon stands before no password."""
_END_OF_PIECE: Final = re.compile(r"([?&;#])")

_PLAIN: Final = frozenset(
    {"command", "socket", "netcat", "keyfile", "no_verify", "no_tty", "no_sanity", "pkipath", "tls_priority", "name"}
    | {"sshauth", "known_hosts", "known_hosts_verify", "mode", "proxy", "authfile"}  # of libvirt's remote driver
    | {"transport", "vcenter", "auto_answer"}  # of its driver for ESX
    | {"memory", "cpus", "nodes", "seed", "files", "bridges", "xen"}  # of memory:///
)
"""Options in URIs whose values are no secrets. Those of others are not shown."""

_SHORTEST: Final = 4
"""The shortest secret that is looked for in other words: a shorter one is in any text by chance."""

_IN_TEXT: Final = re.compile(
    r"(?<=[^/]//)([^/@:\s'\"]*):"  # a user
    r"(?!\d*(?:[/?#:,;\s'\")]|$))(?!\s)"  # neither a port nor the end of a sentence follows
    r"([^\n]{0,500})@"
)
_WORD: Final = re.compile(r"[^\s'\"]+")
_END_OF_SENTENCE: Final = ":,.;)"


def shown(uri: str) -> str:
    """Return a URI with its password masked, and the values of options that nobody knows to be harmless.

    It may be a URI that is not valid, such as one whose password was not quoted. Rather too much is masked than a part
    of a password shown.
    """
    place = _password(uri)
    begin, rest = ("", uri) if place is None else (f"{uri[: place[0]]}{_MASK}", uri[place[1] :])
    head, *pieces = _END_OF_PIECE.split(rest)
    return begin + head + "".join(each if place % 2 == 0 else _piece(each) for place, each in enumerate(pieces))


def secrets_of(uri: str) -> tuple[str, ...]:
    """Return what `shown` masks in a URI, as it stands there and as it is meant; for `redacted`."""
    place = _password(uri)
    found = [] if place is None else [uri[place[0] : place[1]]]
    rest = uri if place is None else uri[place[1] :]
    options = [_value(each) for each in _END_OF_PIECE.split(rest)[2::2] if _piece(each) != each]
    if options:
        found += [*options, rest[rest.index(options[0]) :]]  # its end, too: signs in a secret look like ends of options
    return tuple({form for each in found for form in (each, unquote(each)) if len(form) >= _SHORTEST})


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """Return a text with these secrets masked, and those of the URIs in it as far as they can be told from words."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    text = _IN_TEXT.sub(rf"\1:{_MASK}@", text)
    return _WORD.sub(_options_hidden, text) if "://" in text else text


def _options_hidden(found: re.Match[str]) -> str:
    """Return a word of a text; if it is a URI, with its options as `shown` has them.

    Another host may have sent the word, which may be long: each of its characters is looked at a few times at most.
    """
    word = found[0]
    scheme = word.find("://")
    begin = word.find("?", scheme) if scheme >= 0 else -1
    if begin < 0:
        return word
    end = max(len(word.rstrip(_END_OF_SENTENCE)), begin + 2)  # options of nothing but such signs may be a secret, too
    return word[:begin] + shown(word[begin:end]) + word[end:]


def _password(uri: str) -> tuple[int, int] | None:
    """Return where the password of a URI begins and ends: from the first colon to the last @."""
    scheme = _SCHEME.match(uri)
    start = 0 if scheme is None else scheme.end()
    user = _USER.match(uri, start)
    at = uri.rfind("@")
    if user is None or at < user.end() or _ONLY_A_PORT.match(uri, start):
        return None
    return user.end(), at


def _value(option: str) -> str:
    return option.partition("=")[2] or option


def _piece(text: str) -> str:
    """Return an option of a URI for a message."""
    name, sign, value = text.partition("=")
    if name in _PLAIN and "@" not in value:
        return text
    return f"{name}={_MASK}" if sign and value else text if sign or not text else _MASK
