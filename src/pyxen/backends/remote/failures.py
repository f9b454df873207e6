"""Errors as messages have them: by the name of their class, with the attributes that a class of pyxen's has."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final

from pyxen import errors
from pyxen.backends.remote.messages import Failure
from pyxen.errors import Error, OperationFailed
from pyxen.losses import Loss

__all__ = ["error_of", "failure_of"]

_CLASSES: Final[dict[str, type[Error]]] = {name: getattr(errors, name) for name in errors.__all__}
_BUILTIN: Final[dict[str, type[Exception]]] = {"ValueError": ValueError, "TypeError": TypeError}
_TEXTS: Final = ("feature", "backend", "path", "source", "operation", "error_class", "description", "filename")
_NUMBERS: Final = ("line", "column", "domid", "code")
_MOST_LINES: Final = 1000
_LONGEST: Final = 1 << 16


def failure_of(error: BaseException) -> Failure:
    """Return the message for an error."""
    if not isinstance(error, Error):
        return _foreign(error)
    kind = next((name for each in type(error).__mro__ if _CLASSES.get(name := each.__name__) is each), "Error")
    known: dict[str, Any] = {}
    for name in _TEXTS:
        value = getattr(error, name, None)
        if value is not None:
            known[name] = _text(value)
    for name in _NUMBERS:
        value = getattr(error, name, None)
        if isinstance(value, int):
            known[name] = _number(value)
    domain = getattr(error, "domain", None)
    if domain is not None:
        known["domain"] = _number(domain) if isinstance(domain, int) else _text(domain)
    losses = getattr(error, "losses", ())[:_MOST_LINES]
    return Failure(
        kind,
        _text(error.message),
        **known,
        problems=_texts(getattr(error, "problems", ())),
        log=_texts(getattr(error, "log", ())),
        losses=tuple((_text(loss.path), _text(loss)) for loss in losses),
    )


def _foreign(error: BaseException) -> Failure:
    """Return the message for an exception that is not pyxen's own."""
    if isinstance(error, OSError):
        code = _number(error.errno) if isinstance(error.errno, int) else None
        filename = None if error.filename is None else _text(error.filename)
        return Failure("OSError", _text(error.strerror or error), code=code, filename=filename)
    name = type(error).__name__
    if name in _BUILTIN:
        return Failure(name, _text(error))
    return Failure("OperationFailed", _text(f"the other end failed unexpectedly: {name}: {error}"))


def error_of(failure: Failure) -> Exception:
    """Return the error that a message is about. A class that is not known here becomes `OperationFailed`."""
    if failure.kind == "OSError":
        return OSError(failure.code or 0, failure.message, failure.filename)
    if failure.kind in _BUILTIN:
        return _BUILTIN[failure.kind](failure.message)
    kind = _CLASSES.get(failure.kind)
    if kind is None:
        kind, message = OperationFailed, f"{failure.kind}: {failure.message}"
    else:
        message = failure.message
    error = kind(message)
    known: dict[str, Any] = {name: getattr(failure, name) for name in (*_TEXTS, *_NUMBERS, "domain", "problems", "log")}
    known["losses"] = tuple(_loss(path, text) for path, text in failure.losses)
    for name, value in known.items():
        if hasattr(error, name) and (value or getattr(error, name) is None):
            with contextlib.suppress(AttributeError, TypeError):
                setattr(error, name, value)
    return error


def _loss(path: str, text: str) -> Loss:
    return Loss(path, "", text.removeprefix(f"{path}: "))


def _texts(lines: Any) -> tuple[str, ...]:
    return tuple(map(_text, lines[:_MOST_LINES]))


def _text(value: object) -> str:
    text = os.fsdecode(value) if isinstance(value, bytes) else str(value)
    return text[:_LONGEST].encode(errors="backslashreplace").decode()


def _number(value: int) -> int:
    return max(-(2**63), min(value, 2**63 - 1))
