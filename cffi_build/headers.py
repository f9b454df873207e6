"""Find the installed Xen headers, preprocess them, and select the declarations that cffi can bind.

The headers are the source: nothing about libxl is written down here, so a new Xen release needs no change. The
compiler's preprocessor does the reading; what comes from a header of Xen is kept, apart from

- function bodies: of a ``static inline`` function the prototype stays, since the compiled module can call it,
- functions that take a ``va_list``, which cffi cannot express (`Selection.omitted` names them),
- attributes, which say nothing to cffi.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import linking

LIBXL_API_VERSION = "0x041400"
"""Accepted by every Xen release from 4.16 on; pinning it keeps the signatures alike on all of them."""

LIBXL_HEADERS = (
    "libxl.h",
    "libxl_utils.h",
    "libxl_event.h",
    "libxl_uuid.h",
    "libxlutil.h",
    "xentoollog.h",
    "xenstore.h",
    "xenhypfs.h",
)
"""Headers of which everything is bound, with the generated ``_libxl_*.h`` that they include."""

_LINE_MARKER = re.compile(r'^# \d+ "([^"]*)".*$')
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\(")


class HeadersNotFound(Exception):
    """The Xen headers are not installed, or the C compiler is not."""


@dataclass(frozen=True)
class Declaration:
    """One declaration at the top level of a header."""

    header: str
    """Base name of the header it stands in."""
    text: str
    """The declaration, without attributes and bodies, ending in a semicolon."""
    inline: bool
    """Whether it was a function with a body."""

    @property
    def function(self) -> str | None:
        """Name of the function it declares; None for types and variables."""
        if self.text.startswith("typedef"):
            return None
        match = re.match(r"[\w\s*]*?\b(\w+)\s*\(", self.text)
        return match[1] if match and "{" not in self.text[: match.end()] else None


@dataclass
class Selection:
    """What of the headers is handed to cffi."""

    declarations: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    omitted: dict[str, str] = field(default_factory=dict)
    """Functions that could not be bound, each with the reason."""


def compiler() -> list[str]:
    """Return the C compiler's command line: ``$CC``, by default ``cc``."""
    return shlex.split(os.environ.get("CC", "cc"))


def xen_release() -> str:
    """Return the release of the installed headers, e.g. ``4.17``.

    Raises:
        HeadersNotFound: There are none.
    """
    pkg_config = ["pkg-config", "--modversion", "xenlight"]
    try:
        version = subprocess.run(pkg_config, check=True, capture_output=True, text=True, timeout=300).stdout
    except (OSError, subprocess.SubprocessError) as error:
        message = "pkg-config does not know xenlight: install libxen-dev and pkg-config (Debian), or xen-devel"
        raise HeadersNotFound(message) from error
    return ".".join(version.strip().split(".")[:2])


def preprocess(source: str, *arguments: str) -> str:
    """Run the C preprocessor over a source text.

    Raises:
        HeadersNotFound: The compiler or a header is missing; its own words are in the message.
    """
    try:
        cflags = linking.flags("--cflags")
    except linking.LinkFailed as error:
        raise HeadersNotFound(str(error)) from error
    command = [*compiler(), "-E", *cflags, *arguments, "-"]
    try:
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False, timeout=300)
    except OSError as error:
        raise HeadersNotFound(f"no C compiler: {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise HeadersNotFound(f"the C compiler does not end: {command[0]}") from error
    if done.returncode != 0:
        raise HeadersNotFound(f"the Xen headers do not preprocess (is libxen-dev installed?):\n{done.stderr}")
    return done.stdout


def declarations(preprocessed: str) -> Iterator[Declaration]:
    """Split preprocessed C into its declarations, each with the header that it stands in."""
    header = ""
    pending: list[str] = []
    depth = 0
    body_from = None
    for line in preprocessed.splitlines():
        marker = _LINE_MARKER.match(line)
        if marker:
            header = os.path.basename(marker[1])
            continue
        start = 0
        for position, character in enumerate(line):
            if character in "{(":
                if character == "{" and depth == 0 and _ends_parameters("".join(pending) + line[start:position]):
                    body_from = len("".join(pending)) + position - start
                depth += 1
            elif character in "})":
                depth -= 1
            if depth == 0 and (character == ";" or (character == "}" and body_from is not None)):
                text = "".join(pending) + line[start : position + 1]
                yield _declaration(header, text, body_from)
                pending, start, body_from = [], position + 1, None
        pending.append(line[start:] + "\n")


def _ends_parameters(text: str) -> bool:
    """Tell whether a brace after this text opens a function's body rather than a type's."""
    return _without_attributes(text).rstrip().endswith(")")


def _declaration(header: str, text: str, body_from: int | None) -> Declaration:
    if body_from is not None:
        text = re.sub(r"\b(static|__inline__|__inline|inline|extern)\b", "", text[:body_from]) + ";"
    text = _without_attributes(text).replace("__extension__", "")
    return Declaration(header, re.sub(r"\s+", " ", text).strip(), body_from is not None)


def _without_attributes(text: str) -> str:
    while match := _ATTRIBUTE.search(text):
        depth, end = 2, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = text[: match.start()] + text[end:]
    return text


def renamed_by_macro(macros: str) -> dict[str, str]:
    """Return the functions that the pinned API version maps to an older form, by ``cc -dM``'s output."""
    return dict(re.findall(r"^#define (libxl_\w+) (libxl_\w+_0x\w+)$", macros, re.MULTILINE))


def select(found: list[Declaration], headers: tuple[str, ...], macros: str = "") -> Selection:
    """Keep what stands in these headers, or in those that libxl generates for them, and what cffi can bind."""
    selection = Selection()
    by_name = {item.function: item for item in found if item.function}
    renamed = {new: old for new, old in renamed_by_macro(macros).items() if old in by_name}
    for item in found:
        if item.header not in headers and not item.header.startswith("_libxl"):
            continue
        name = item.function
        text = item.text
        if text == ";" or (name is not None and name in selection.functions):
            continue
        if re.search(r"\bva_list\b|__builtin_va_list", text):
            if name is None:
                text = _opaque(text)
            else:
                selection.omitted[name] = "takes a va_list"
                continue
        if name in renamed:
            text = by_name[renamed[name]].text.replace(renamed[name], name)
        if name is not None:
            selection.functions.append(name)
        if text:
            selection.declarations.append(text)
    return selection


def _opaque(text: str) -> str:
    """Return a structure's bare name, for one whose members cffi cannot express."""
    match = re.match(r"struct\s+(\w+)\s*\{", text)
    return f"struct {match[1]};" if match else ""
