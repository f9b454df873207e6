"""Configurations from elsewhere: in a saved file, in a migration stream, or kept by libxl for a domain.

libxl's own reader trusts its input. It aborts the process on a negative CPU number and on two members of one union, and
it copies as many bytes as a bitmap says. So the original text never reaches libxl. This module parses it, checks it
against the structures that libxl would fill, and writes it again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from pyxen import libxljson
from pyxen._common.allow import check_allowed
from pyxen._common.shield import logger
from pyxen._printable import printable
from pyxen.backends.base import Allow
from pyxen.backends.xenlight.libxl import marshal
from pyxen.backends.xenlight.libxl.binding import ffi, release
from pyxen.backends.xenlight.libxl.fatal_configs import check_not_fatal
from pyxen.config import DomainConfig
from pyxen.errors import ParseError
from pyxen.libxljson.text import parse

__all__ = ["Received", "read"]

_LOG = logger("pyxen.libxl")

_MOST_CPU: Final = 1 << 16
_DEFBOOLS: Final = frozenset({"<default>", "True", "False"})
_INTEGER: Final = re.compile(r"(u?)int(\d+)_t$|(unsigned |)(?:char|short|int|long|long long)$")
_POLICY: Final = {"eax": 32, "ebx": 32, "ecx": 32, "edx": 32, "policy": 64}
_BITS: Final = re.compile(r"[01xks]+")


@dataclass(frozen=True, slots=True)
class Received:
    """A configuration from elsewhere that has been checked."""

    config: DomainConfig
    document: dict[str, Any]
    """The parsed JSON document to give to libxl."""

    @property
    def json(self) -> str:
        """The document as libxl's JSON."""
        return json.dumps(self.document)


def read(text: str | bytes, source: str, allow: Allow | None = None) -> Received:
    """Read and check a configuration from elsewhere.

    Settings that this Xen release does not know are left out, with a line in the log.

    Args:
        text: libxl's JSON of one domain.
        source: Where it came from, for error messages.
        allow: Called with the configuration to accept or refuse it. It cannot see settings that pyxen does not know, so
            with it, such settings are refused.

    Raises:
        ParseError: The text is not libxl's JSON of one domain.
        ConfigError: It is not valid, or libxl would abort the process on it.
        LossyConversion: It has settings that pyxen does not know, and there is an `allow`.
        InvalidArgument: `allow` refuses it.
    """
    document = parse(text, source)
    if not isinstance(document, dict):
        raise ParseError("not a configuration: libxl's JSON of a domain is an object", source=source)
    document = _Reader(source).object(document, ffi.typeof("libxl_domain_config"), "")
    build = document.get("b_info", {})
    _check_arms(document, build, source)
    _check_cpus(build, source)
    check_not_fatal(document)
    config = libxljson.from_dict(document, on_loss="raise" if allow is not None else "ignore")
    check_allowed(config, allow, source)
    return Received(config, document)


def _check_arms(document: dict[str, Any], build: dict[str, Any], source: str) -> None:
    """Check that the guest's type is the same everywhere, which libxl asserts."""
    kind = document.get("c_info", {}).get("type")
    if kind is None or f"type.{kind}" not in build:
        raise ParseError(f"not a configuration: b_info has no settings of a {kind} guest", source=source)


def _check_cpus(build: dict[str, Any], source: str) -> None:
    """Check the values that libxl copies without checking their size."""
    most = build.get("max_vcpus", 1)
    nodes = build.get("vnuma_nodes", [])
    for vcpus in (build.get("avail_vcpus", []), *(node.get("vcpus", []) for node in nodes)):
        if vcpus and vcpus[-1] >= most:
            raise ParseError(f"b_info: vCPU {vcpus[-1]} is beyond max_vcpus={most}", source=source)
    for index, node in enumerate(nodes):
        if len(node.get("distances", [])) != len(nodes):
            message = f"b_info.vnuma_nodes[{index}].distances: takes {len(nodes)} numbers, one for each node"
            raise ParseError(message, source=source)


class _Reader:
    """Checks parsed JSON against C types, and returns it in a form that is safe for libxl."""

    def __init__(self, source: str) -> None:
        self._source = source

    def object(self, value: Any, ctype: Any, path: str) -> dict[str, Any]:
        """Return the members of a structure that this Xen release knows."""
        if not isinstance(value, dict):
            raise self._wrong(path, "takes an object")
        found, arms = {}, dict[str, str]()
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            union, dot, _ = key.partition(".")
            if dot and arms.setdefault(union, key) != key:
                raise self._wrong(path, f"{printable(arms[union])} and {printable(key)} cannot both be set")
            member = marshal.member(ctype, key)
            if member is not None:
                found[key] = self._value(item, member, where)
            elif dot and item == {}:
                found[key] = {}  # this member of the union is empty
            else:
                _LOG.warning("%s: Xen %s has no %s: it is left out", self._source, release, printable(where))
        return found

    def _value(self, value: Any, ctype: Any, path: str) -> Any:
        name = ctype.cname
        if name == "libxl_defbool":
            return self._take(value in _DEFBOOLS if isinstance(value, str) else isinstance(value, bool), value, path)
        if name == "libxl_bitmap":
            return self._bitmap(value, path)
        if name in {"libxl_uuid", "char *"} or ctype.kind == "enum":
            return self._text(value, path)
        if name == "char * *":
            return self._texts(value, path)
        if name == "libxl_ms_vm_genid":
            return self._numbers(value, path)
        if ctype.kind == "array":
            return self._text(value, path) if isinstance(value, str) else self._numbers(value, path)
        if ctype.kind == "primitive":
            return self._primitive(value, ctype, path)
        if (ctype.kind == "pointer" and marshal.has_members(ctype.item)) or (
            name.endswith("*") and self._is_plain(ctype)
        ):
            return self._items(value, ctype.item, path)
        if ctype.kind in {"struct", "union"} and marshal.has_members(ctype):
            return self.object(value, ctype, path)
        return self._policy(value, path, 0)

    @staticmethod
    def _is_plain(ctype: Any) -> bool:
        return ctype.kind == "pointer" and ctype.item.kind in {"primitive", "enum"}

    def _items(self, value: Any, ctype: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._wrong(path, "takes a list")
        return [self._value(item, ctype, f"{path}[{index}]") for index, item in enumerate(value)]

    def _bitmap(self, value: Any, path: str) -> list[int]:
        numbers = self._numbers(value, path)
        if any(not 0 <= number < _MOST_CPU for number in numbers):
            raise self._wrong(path, f"takes numbers from 0 to {_MOST_CPU - 1}")
        return sorted(set(numbers))  # libxl sizes the bitmap by the last number

    def _numbers(self, value: Any, path: str) -> list[int]:
        if not isinstance(value, list) or not all(type(number) is int for number in value):
            raise self._wrong(path, "takes a list of whole numbers")
        return value

    def _text(self, value: Any, path: str) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(path, "takes a string")
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self._wrong(path, "has a character that C and UTF-8 cannot hold")
        return value

    def _texts(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {self._text(key, path): self._text(item, f"{path}.{key}") for key, item in value.items()}
        if not isinstance(value, list):
            raise self._wrong(path, "takes a list of strings")
        return [self._text(item, path) for item in value]

    def _primitive(self, value: Any, ctype: Any, path: str) -> Any:
        if ctype.cname == "_Bool":
            return self._take(isinstance(value, bool), value, path)
        if type(value) is not int:
            raise self._wrong(path, "takes a whole number")
        size = 8 * ffi.sizeof(ctype)
        unsigned = int(ffi.cast(ctype, -1)) > 0
        if unsigned and size <= 32 and -(2**31) <= value < 0:
            value += 2**32  # libxl of Xen 4.21 and newer writes unsigned numbers like this
        if unsigned and size == 64 and value == -1:
            return value  # libxl's default
        least, most = (0, 2**size - 1) if unsigned else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)
        if not least <= value <= most:
            raise self._wrong(path, f"takes a whole number from {least} to {most}")
        return value

    def _policy(self, value: Any, path: str, depth: int) -> Any:
        """Return CPUID and MSR policies, which are opaque in libxl; their texts have a fixed length."""
        if isinstance(value, dict) and depth < 3:
            found = {}
            for key, item in value.items():
                text = isinstance(item, str)
                if text and (len(item) != _POLICY.get(key) or not _BITS.fullmatch(item)):
                    raise self._wrong(path, f"{printable(key)}: takes {_POLICY.get(key, 'no')} characters out of 01xks")
                found[self._text(key, path)] = item if text else self._policy(item, f"{path}.{key}", depth + 1)
            return found
        if isinstance(value, list) and depth < 3:
            return [self._policy(item, path, depth + 1) for item in value]
        if type(value) is int and -(2**31) <= value < 2**32:
            return value % 2**32
        raise self._wrong(path, "is not a CPUID policy of libxl's")

    def _take(self, good: bool, value: Any, path: str) -> Any:
        if not good:
            raise self._wrong(path, "takes True or False")
        return value

    def _wrong(self, path: str, reason: str) -> ParseError:
        return ParseError(f"{printable(path)}: {reason}" if path else reason, source=self._source, path=path or None)
