"""The file that says who may connect to a socket, and what they may do there: ``/etc/pyxen/serve.toml``."""

from __future__ import annotations

import dataclasses
import difflib
import grp
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.backends.remote.local import SETTINGS_FILE
from pyxen.backends.remote.verbs import VERBS
from pyxen.errors import FileMissing, InvalidArgument, OperationFailed, ParseError
from pyxen.serve.policy import ALL, LOOKS, Policy

__all__ = ["Settings", "load_settings"]

_VERB: Final = "serve"
_MOST: Final = 64 << 10
_KEYS: Final = ("group", "verbs", "passwords")
_READ_ONLY: Final = "read-only"
_TRUSTED_USERS: Final = frozenset({0})
_TRUSTED_GROUPS: Final = frozenset({0})


@dataclass(frozen=True, slots=True)
class Settings:
    """Who may connect, and what they may do.

    Attributes:
        source: The file that says so.
        policy: What they may do.
        group: The name of the group whose members may connect, beside root; None for root alone.
        gid: Its number; None for root alone.
    """

    source: str = SETTINGS_FILE
    policy: Policy = ALL
    group: str | None = None
    gid: int | None = None

    def only_looking(self) -> Settings:
        """Return what is left of them with ``--read-only``."""
        return dataclasses.replace(self, policy=self.policy.only_looking())


def load_settings(path: str | None = None) -> Settings:
    """Read a file of settings.

    Args:
        path: The file. None is `SETTINGS_FILE`, and if that does not exist, only root may connect, and do all.

    Raises:
        FileMissing: The file does not exist.
        OperationFailed: It cannot be read.
        InvalidArgument: It is not a regular file; or this is root, and somebody else can write to it.
        ParseError: It is not TOML, has a key that is not known, or a value that is not valid.
    """
    source = SETTINGS_FILE if path is None else path
    try:
        content = _content(source)
    except FileMissing:
        if path is None:
            return Settings()
        raise
    try:
        found = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ParseError(f'{error}: write lines such as group = "xenusers"', source=source) from None
    except (RecursionError, ValueError):  # of Python: an int may have 4,300 digits
        raise ParseError("its TOML is nested too deep, or has a number of too many digits", source=source) from None
    return _settings(found, source)


def _content(path: str) -> bytes:
    if not path or "\0" in path:
        raise InvalidArgument(f"{path!r} is not the path of a file", operation=_VERB)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            _check_trusted(path, os.fstat(file.fileno()))
            content = file.read(_MOST + 1)
    except FileNotFoundError:
        missing = FileMissing(f"there is no file {path}", operation=_VERB)
        missing.filename = path
        raise missing from None
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror}", operation=_VERB) from error
    if len(content) > _MOST:
        raise ParseError(f"it has more than {_MOST >> 10} KiB", source=path)
    return content


def _check_trusted(path: str, found: os.stat_result) -> None:
    """Refuse a file in which somebody else could give himself root's rights."""
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArgument(f"{path} is not a regular file", operation=_VERB)
    if os.geteuid() != 0:
        return
    whole = Path(path).resolve()
    for place, of in [(whole, found), *((folder, folder.stat()) for folder in whole.parents)]:
        loose = of.st_mode & (stat.S_IWOTH if of.st_gid in _TRUSTED_GROUPS else stat.S_IWGRP | stat.S_IWOTH)
        kept = stat.S_ISDIR(of.st_mode) and of.st_mode & stat.S_ISVTX
        if of.st_uid not in _TRUSTED_USERS or (loose and not kept):
            remedy = f"chown root:root {place}; chmod go-w {place}"
            raise InvalidArgument(f"{path}: others than root can write to {place}: {remedy}", operation=_VERB)


def _settings(found: dict[str, Any], source: str) -> Settings:
    for key in found:
        if key not in _KEYS:
            raise ParseError(f"{quoted(key)} is not a key here; the keys are {', '.join(_KEYS)}", source=source)
    if "verbs" not in found:
        raise ParseError('it does not say verbs: write verbs = "read-only", "all" or a list of verbs', source=source)
    verbs = _verbs(found["verbs"], source)
    passwords = found.get("passwords", found["verbs"] == "all")
    if not isinstance(passwords, bool):
        raise ParseError(f"passwords is true or false, not {quoted(passwords)}", source=source)
    group, gid = _group(found["group"], source) if "group" in found else (None, None)
    return Settings(source, Policy(verbs, passwords, source), group, gid)


def _verbs(value: object, source: str) -> frozenset[str]:
    if value == "all":
        return frozenset(VERBS)
    if value == _READ_ONLY:
        return LOOKS
    if not isinstance(value, list) or not value:
        message = f'verbs is "read-only", "all" or a list of verbs, not {quoted(value)}'
        raise ParseError(message, source=source)
    found: set[str] = set()
    for verb in value:
        if verb == _READ_ONLY:
            found |= LOOKS
        elif isinstance(verb, str) and verb in VERBS:
            found.add(verb)
        else:
            near = difflib.get_close_matches(str(verb), VERBS, n=3)
            hint = f"; there is {', '.join(near)}" if near else "; docs/howto/remote.md has them"
            raise ParseError(f"{quoted(verb)} is not a verb{hint}", source=source)
    return frozenset(found)


def _group(value: object, source: str) -> tuple[str, int]:
    if not isinstance(value, str) or not value:
        raise ParseError(f"group is the name of a group, not {quoted(value)}", source=source)
    try:
        return value, grp.getgrnam(value).gr_gid
    except (KeyError, ValueError):
        raise ParseError(f"there is no group {quoted(value)}: make it with groupadd --system", source=source) from None
