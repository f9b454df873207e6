"""The grammar of xl configurations: a text is a sequence of settings, ``key = value`` or ``key += value``.

A value is a string, a number or a list of values; strings and numbers are the same thing to xl, so both are `str` here.
The text is read once, without recursion, and never executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from pyxen.errors import ParseError
from pyxen.xlcfg.lexer import END, LIST_TOKEN, REST, SETTING, unquote
from pyxen.xlcfg.syntax_errors import explain, explain_setting, position, skip

__all__ = ["Assignment", "Value", "assignments"]

Value: TypeAlias = "str | list[Value]"
"""What a key can be set to."""

# libxlutil's parser has a stack of 10,000 states, which bounds how deep lists can nest: this is what each piece takes.
_STACK_LIMIT: Final = 10_000
_STACK_BEFORE_LIST, _STACK_BRACKET, _STACK_COMMA, _STACK_VALUE = 4, 2, 3, 2

_PLAIN, _NUMBER, _ESCAPED, _PUNCTUATION = 1, 2, 3, 4


class Assignment(NamedTuple):
    """One setting as it stands in the text.

    Attributes:
        key: Its key.
        adds: Whether it is written with ``+=``.
        value: Its value.
        start: Where the key begins in the text.
        value_start: Where the value begins.
        value_end: Where the value ends.
        end: Where the setting ends, its comment, line end or semicolon included.
        items: Where the items of a list begin; empty for a single value.
    """

    key: str
    adds: bool
    value: Value
    start: int
    value_start: int
    value_end: int
    end: int
    items: Sequence[int]


def assignments(text: str) -> list[Assignment]:
    """Read a configuration.

    Args:
        text: The configuration. A BOM, CRLF line ends, upper case keys … are errors, as they are to xl.

    Returns:
        Every setting, in order.

    Raises:
        ParseError: libxlutil refuses the text; the message says where and why.
    """
    found: list[Assignment] = []
    append = found.append
    at = 0
    match_setting = SETTING.match
    while match := match_setting(text, at):
        key, operator, plain, number, escaped, bracket = match.groups()
        at = match.end()
        items: Sequence[int] = ()
        if plain is not None:
            value: Value = plain[1:-1]
            start, end = match.span(3)
        elif number is not None:
            value = number
            start, end = match.span(4)
        elif bracket:
            start = at - 1
            value, end, items = _list(text, at)
            closing = END.match(text, end)
            if closing is None:
                raise explain(text, end, "the end of the line or ';'")
            at = closing.end()
        else:
            start, end = match.span(5)
            value = _unquoted(text, escaped, start)
        append(Assignment(key, operator == "+=", value, match.start(1), start, end, at, items))
    if REST.match(text, at) is None:
        raise explain_setting(text, at)
    return found


def _unquoted(text: str, word: str, offset: int) -> str:
    value = unquote(word)
    if isinstance(value, str):
        return value
    message = (
        f"{word[value : value + 2]} is not an escape that xl knows; "
        r"it knows \a \b \f \n \r \t \v \\ \" \' (its octal and hexadecimal escapes never worked)"
    )
    raise _error(text, offset + value, message)


def _list(text: str, at: int) -> tuple[list[Value], int, list[int]]:
    """Read a list from behind its bracket; return it, the place behind its closing bracket, and those of its items."""
    offsets: list[int] = []
    outer: list[tuple[list[Value], int]] = []
    current: list[Value] = []
    stack = _STACK_BEFORE_LIST + _STACK_BRACKET
    wants_value = True
    match_token = LIST_TOKEN.match
    while match := match_token(text, at):
        kind = match.lastindex or 0
        word = match[kind]
        at = match.end()
        if word == "]" and kind == _PUNCTUATION:
            if not outer:
                return current, at, offsets
            current, stack = outer.pop()
            wants_value = False
        elif word == "," and kind == _PUNCTUATION:
            if wants_value:
                raise explain(text, at - 1, "a value")
            wants_value = True
        elif not wants_value:
            raise explain(text, match.start(kind), "',' or ']'")
        else:
            deeper = stack + _STACK_COMMA if current else stack
            needed = _STACK_VALUE + _STACK_BRACKET if word == "[" and kind == _PUNCTUATION else _STACK_VALUE
            if deeper + needed >= _STACK_LIMIT:
                raise _error(text, match.start(kind), "lists are nested too deeply for xl")
            if not outer:
                offsets.append(match.start(kind))
            if kind == _PLAIN:
                current.append(word[1:-1])
            elif kind == _NUMBER:
                current.append(word)
            elif kind == _ESCAPED:
                current.append(_unquoted(text, word, match.start(_ESCAPED)))
            else:
                inner: list[Value] = []
                current.append(inner)
                outer.append((current, stack))
                current, stack = inner, deeper + _STACK_BRACKET
            wants_value = kind == _PUNCTUATION
    raise explain(text, skip(text, at, in_list=True), "a value or ']'" if wants_value else "',' or ']'")


def _error(text: str, offset: int, message: str) -> ParseError:
    line, column = position(text, offset)
    return ParseError(message, line=line, column=column)
