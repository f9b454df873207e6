"""Checks of single fields. Each returns the value to store, or raises with the values that are allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pyxen._printable import quoted
from pyxen.config.base import Part, Refused, did_you_mean, join_path
from pyxen.config.device import Device
from pyxen.errors import ValidationError

if TYPE_CHECKING:
    import uuid

__all__ = [
    "INT_MAX",
    "UINT16_MAX",
    "UINT32_MAX",
    "UINT64_MAX",
    "filename",
    "flag",
    "hide",
    "hide_keys",
    "integer",
    "many",
    "mebibytes",
    "member",
    "pairs",
    "part",
    "text",
    "unique_id",
    "value_of",
    "yes_or_no",
]

INT_MAX: Final = 2**31 - 1
UINT16_MAX: Final = 2**16 - 1
UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
_MOST_MIB: Final = UINT64_MAX // 2048

Check = Callable[[Any], Any]


def text(value: Any) -> str:
    """Pass a string that C can hold: UTF-8 without NUL characters. Other bytes are surrogates, as in `os.fsdecode`."""
    if type(value) is str and value.isascii() and "\0" not in value:  # as most are
        return value
    if not isinstance(value, str):
        raise Refused(f"takes a string, not {_kind(value)}")
    if "\0" in value:
        raise Refused("cannot hold a NUL character")
    if not value.isascii():
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Refused("holds half of a surrogate pair, which stands for no byte and no character") from None
    return value if type(value) is str else str(value)


def filename(value: Any) -> str:
    """Pass a string, or anything with a file system path such as `pathlib.Path`."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return text(value)


def flag(value: Any) -> bool | None:
    """Pass True, False or None (libxl decides); 0 and 1 as xl.cfg writes them."""
    return value if value is None or value is True or value is False else yes_or_no(value)


def yes_or_no(value: Any) -> bool:
    """Pass True or False; 0 and 1 as xl.cfg writes them."""
    if value is True or value is False:
        return bool(value)
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise Refused(f"takes True or False, not {_shown(value)}")


def integer(low: int, high: int) -> Check:
    """Make a check for whole numbers from ``low`` to ``high``."""

    def check(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(f"takes a whole number, not {_shown(value)}")
        if not low <= value <= high:
            raise Refused(f"{_shown(value)} is out of range; it can be {low} to {high}")
        return int(value)

    return check


def mebibytes(value: Any) -> float:
    """Pass an amount of memory in MiB; a fraction must come to whole KiB."""
    if type(value) is int and 0 <= value <= _MOST_MIB:
        return value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Refused(f"takes a number of MiB, not {_shown(value)}")
    if not 0 <= value <= _MOST_MIB:
        raise Refused(f"{_shown(value)} MiB is out of range")
    if value * 1024 != int(value * 1024):
        raise Refused(f"{value} MiB is not a whole number of KiB")
    return int(value) if value == int(value) else value


def member(kind: type[Enum]) -> Check:
    """Make a check for the members of an enumeration, which may be given by name."""

    def check(value: Any) -> Enum:
        if isinstance(value, kind):
            return value
        try:
            return kind(value)
        except ValueError:
            names = [str(m.value) for m in kind]
            hint = did_you_mean(str(value).lower(), names)
            raise Refused(f"{_shown(value)} is not one of {', '.join(names)}{hint}") from None

    return check


def many(inner: Check, limit: int | None = None) -> Check:
    """Make a check for a sequence, stored as a tuple; ``limit`` bounds its length."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) and (  # as most are, and quick to tell
            isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable)
        ):
            raise Refused(f"takes a list, not {_shown(value)}")
        kept = []
        for index, item in enumerate(value):
            try:
                kept.append(inner(item))
            except Refused as refused:
                raise Refused(refused.reason, join_path(f"[{index}]", refused.path)) from None
        if limit is not None and len(kept) > limit:
            raise Refused(f"has {len(kept)} items; at most {limit} are possible")
        return tuple(kept)

    return check


def pairs(inner: Check) -> Check:
    """Make a check for named values, given as a mapping or as pairs, and stored as a tuple of pairs in that order."""

    def check(value: Any) -> tuple[tuple[str, Any], ...]:
        items = value.items() if isinstance(value, Mapping) else value
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise Refused(f"takes a mapping, not {_shown(value)}")
        kept: dict[str, Any] = {}
        for item in items:
            if isinstance(item, (str, bytes)) or not isinstance(item, Iterable) or len(pair := tuple(item)) != 2:
                raise Refused(f"takes pairs of a name and a value, not {_shown(item)}")
            name = text(pair[0])
            if name in kept:
                raise Refused(f"names {quoted(name)} twice")
            try:
                kept[name] = inner(pair[1])
            except Refused as refused:
                raise Refused(refused.reason, join_path(name, refused.path)) from None
        return tuple(kept.items())

    return check


def part(kind: type[Part]) -> Check:
    """Make a check for a part, which may be given as the mapping that its ``from_dict`` takes."""

    def check(value: Any) -> Part:
        if isinstance(value, kind):
            return value
        if isinstance(value, Mapping):
            try:
                return kind.from_dict(value)
            except ValidationError as error:
                reason = error.message.removeprefix(f"{error.path}: ")
                raise Refused(reason, error.path or "") from None
        is_text = isinstance(value, str) and issubclass(kind, Device)
        hint = f"; {kind.__name__}.from_xl reads xl's text of one" if is_text else ""
        what = _kind(value) if isinstance(value, str) and not is_text else _shown(value)  # a word may be a password
        raise Refused(f"takes a {kind.__name__}, not {what}{hint}")

    return check


def value_of(kind: type[Any]) -> Check:
    """Make a check for a value type whose constructor takes a string and raises `ValueError`."""

    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise Refused(f"takes a {kind.__name__} or a string, not {_shown(value)}")
        try:
            return kind(value)
        except ValueError as error:
            raise Refused(str(error)) from None

    return check


def unique_id(value: Any) -> uuid.UUID:
    """Pass a `uuid.UUID`, or the usual text of one."""
    import uuid  # slow to load, and not every configuration has a uuid

    if isinstance(value, uuid.UUID):
        return value
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            pass
    raise Refused(f"takes a uuid such as '2f6a1d5c-3f4b-4e0e-9d5a-0c1b2a394857', not {_shown(value)}")


def hide(_: str) -> str:
    """Mask a whole secret."""
    return "***"


_SECRETS = (
    re.compile(r"(?i)((?:(?:^|[^a-z])(?:key|secret)=|p(?:[aw]+s+w?|s+w)o?r?d?[ \t]*=[ \t]*))(?:\\.|[^:,;\s\\])*"),
    re.compile(r"(?i)(\"passw(?:or)?d\"\s*:\s*\")(?:\\.|[^\"\\])*"),  # QEMU's json:{…}
)
_USER = re.compile(r"://(?=([^/@\s:%\[]*[:%])(?!\d+/))")  # of user:password@host, or user%password@host in iscsi
_AFTER_URI = re.compile(r"[\s,;]|\Z")


def hide_keys(value: str) -> str:
    """Mask the secrets inside a longer text, as in ``rbd:pool/image:id=admin:key=…``."""
    for secret in _SECRETS:
        value = secret.sub(r"\1***", value)
    return _without_passwords(value) if "://" in value else value


def _without_passwords(text: str) -> str:
    """Mask what stands between each user and the last @ of its URI.

    One pattern for all of it would look for the @ from each ``://`` again: a text of many takes it minutes.
    """
    pieces, done = [], 0
    last, end = -1, -1
    for user in _USER.finditer(text):
        begin = user.end(1)
        if begin > end:
            after = _AFTER_URI.search(text, begin)
            end = len(text) if after is None else after.start()
            last = text.rfind("@", begin, end)
        if done <= user.start() and begin <= last:
            pieces += [text[done:begin], "***"]
            done = last
    return "".join([*pieces, text[done:]])


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"
    if isinstance(value, (int, float)) or value is None:
        return repr(value)
    return quoted(hide_keys(value) if isinstance(value, str) else value)
