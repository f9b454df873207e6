"""Checks of what is sent to Xen itself: debug keys, parameters, paths and values in its file system."""

from __future__ import annotations

import re
from typing import Final

from pyxen._common.arguments import check_is
from pyxen._printable import quoted
from pyxen.errors import InvalidArgument

__all__ = ["check_debug_keys", "check_hypfs_path", "hypfs_text", "parameter_path", "parameters_of"]

_MOST_KEYS: Final = 256
_LONGEST_PATH: Final = 1023  # XEN_HYPFS_MAX_PATHLEN, without the NUL
_LONGEST_VALUE: Final = 4095  # a page, without the NUL; Xen itself takes less

_PARAMETER: Final = re.compile(r"[!-~]+=[!-~]*|no[!-<>-~]+")


def check_debug_keys(keys: object) -> str:
    """Return debug keys.

    Raises:
        InvalidArgument: They are not one or several printable ASCII characters.
    """
    check_is(str, keys, "debug_keys")
    text = str(keys)
    if not text or len(text) > _MOST_KEYS or not (text.isascii() and text.isprintable()):
        message = f"{quoted(text)}: give 1 to {_MOST_KEYS} printable ASCII characters, such as q or h"
        raise InvalidArgument(message, operation="debug_keys")
    return text


def parameters_of(parameters: object) -> list[str]:
    """Return parameters of Xen's command line, one by one.

    libxl reads the name of a parameter up to its ``=``, and crashes where there is none.

    Raises:
        InvalidArgument: They do not have the form ``NAME=VALUE`` or ``noNAME``.
    """
    check_is(str, parameters, "set_parameters")
    found = str(parameters).split(" ")
    words = [word for word in found if word]
    wrong = next((word for word in words if not _PARAMETER.fullmatch(word)), None)
    if wrong is not None or not words:
        message = f"{quoted(wrong or '')} is not a parameter: give NAME=VALUE or noNAME, such as loglvl=all"
        raise InvalidArgument(message, operation="set_parameters")
    for word in words:
        check_hypfs_path(parameter_path(word), "set_parameters")
        if len(word) > _LONGEST_VALUE:
            raise InvalidArgument(f"{quoted(word)} is too long for a parameter", operation="set_parameters")
    return words


def parameter_path(parameter: str) -> str:
    """Return the path in hypfs of a parameter that is to be set, as libxl does."""
    name, equals, _ = parameter.partition("=")
    return f"/params/{name if equals else name.removeprefix('no')}"


def check_hypfs_path(path: object, verb: str) -> str:
    """Return a path in hypfs.

    Raises:
        InvalidArgument: It is not text, does not begin with a slash, or Xen cannot take it.
    """
    check_is(str, path, verb)
    text = str(path)
    if not text.startswith("/") or not (text.isascii() and text.isprintable()) or len(text) > _LONGEST_PATH:
        message = (
            f"{quoted(text)} is not a path in hypfs: it begins with / and has at most {_LONGEST_PATH} ASCII characters"
        )
        raise InvalidArgument(message, operation=verb)
    return text


def hypfs_text(value: object) -> str:
    """Return a value to be written in hypfs as the text that libxenhypfs takes.

    Raises:
        InvalidArgument: It is neither text nor a number nor a boolean, or Xen cannot take it.
    """
    if not isinstance(value, (str, int)):
        given = "None" if value is None else type(value).__name__
        raise InvalidArgument(f"takes text, a number, True or False, not {given}", operation="hypfs_write")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise InvalidArgument("takes a number of at most 64 bits", operation="hypfs_write")
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if "\0" in text or not text.isascii() or len(text) > _LONGEST_VALUE:
        message = f"{quoted(text)} is not a value for hypfs: give at most {_LONGEST_VALUE} ASCII characters without NUL"
        raise InvalidArgument(message, operation="hypfs_write")
    return text
