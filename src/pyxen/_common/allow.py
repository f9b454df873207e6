"""The question to the caller whether a saved or incoming domain may be created."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

from pyxen._functions import check_answer, check_function
from pyxen._printable import printable
from pyxen.config import DomainConfig
from pyxen.errors import InvalidArgument

__all__ = ["accepts", "check_allow", "check_allowed"]


def check_allow(allow: object, verb: str) -> None:
    """Check the argument before anything is begun; see `check_function`."""
    if allow is not None:
        check_function(allow, "allow", verb)


def accepts(config: DomainConfig, allow: Callable[[DomainConfig], bool | None]) -> bool:
    """Tell whether the caller accepts a configuration: a function that has run, and did not return False, does.

    Raises:
        InvalidArgument: It has not run, so it has not decided. Exceptions that it raises are passed on.
    """
    answer: object = allow(config)
    check_answer(answer, "allow", "restore")
    if isinstance(answer, Awaitable | AsyncGenerator | Generator):
        message = f"allow returned a {type(answer).__name__}, which decides nothing: return True or False"
        raise InvalidArgument(message, operation="restore")
    return answer is not False


def check_allowed(config: DomainConfig, allow: Callable[[DomainConfig], bool | None] | None, source: str) -> None:
    """Check that the caller accepts a configuration.

    Raises:
        InvalidArgument: It does not, or has not decided; see `accepts`.
    """
    if allow is not None and not accepts(config, allow):
        raise InvalidArgument(f"{source}: allow refused the configuration of {printable(config.name)}")
