"""The settings of xendomains, the script that starts and stops domains with their host."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from pyxen._durations import duration, timeout_of
from pyxen._printable import quoted
from pyxen.errors import FileMissing, ParseError
from pyxen.losses import Loss, OnLoss, report
from pyxen.records.base import Record

__all__ = ["FILES", "XendomainsSettings"]

FILES: Final = ("/etc/default/xendomains", "/etc/sysconfig/xendomains")
"""Where the settings are: on Debian and its like, and elsewhere."""

_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_EXPANDED: Final = re.compile(r"[$`]")
_USEC_PER_S: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class XendomainsSettings(Record):
    """The settings of xendomains, for `start_all` and `stop_all`. The defaults are those of Xen's own file.

    Raises:
        InvalidArgument: A number of seconds is not valid.
    """

    auto: str | None = "/etc/xen/auto"
    """``XENDOMAINS_AUTO``: folder with the configurations of the domains to start; None starts none."""
    save: str | None = "/var/lib/xen/save"
    """``XENDOMAINS_SAVE``: folder to which domains are saved; None saves none."""
    restore: bool = True
    """``XENDOMAINS_RESTORE``: whether the saved domains are restored at the start."""
    migrate: str | None = None
    """``XENDOMAINS_MIGRATE``: host to which domains are migrated at the stop, as for `Domain.migrate`."""
    shutdown: bool = True
    """``XENDOMAINS_SHUTDOWN``: whether domains that were neither migrated nor saved are asked to shut down."""
    shutdown_waits: bool = True
    """Whether that waits until they have, ``--wait``."""
    shutdown_all: bool = True
    """``XENDOMAINS_SHUTDOWN_ALL``: whether all other guests are asked to shut down, too."""
    shutdown_all_waits: bool = True
    """Whether that waits until they have, ``--wait``."""
    auto_only: bool = True
    """``XENDOMAINS_AUTO_ONLY``: migrate, save and shut down only domains whose configurations are in `auto`."""
    create_delay_s: float = 5.0
    """``XENDOMAINS_CREATE_USLEEP``: seconds between two creates, so that booting guests do not all use the disks."""
    stop_timeout_s: float | None = 300.0
    """``XENDOMAINS_STOP_MAXWAIT``: seconds for each migration, save and shutdown; None (0 there) waits forever."""
    sysrq: tuple[str, ...] = ()
    """``XENDOMAINS_SYSRQ``: magic SysRq keys that each domain is sent first, e.g. ``("s",)`` to sync its disks."""
    sysrq_delay_s: float = 0.1
    """``XENDOMAINS_USLEEP``: seconds after each key."""

    def __post_init__(self) -> None:
        for name in ("create_delay_s", "sysrq_delay_s"):
            # What is kept is a float: nothing can wait for another number, such as a Decimal.
            object.__setattr__(self, name, duration(getattr(self, name), name))
        object.__setattr__(self, "stop_timeout_s", timeout_of(self.stop_timeout_s, "stop_timeout_s"))

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None, *, on_loss: OnLoss = "warn") -> Self:
        """Read the settings from a file; by default the host's own. Arguments as `loads`.

        Raises:
            FileMissing: No path is given, and the host has no such file.
            OSError: The file that is given cannot be read.
            ParseError, LossyConversion: As `loads`.
        """
        if path is None:
            path = next((name for name in FILES if os.path.exists(name)), None)
        if path is None:
            message = f"no such file on the host: {' or '.join(FILES)}; install xen-utils, or give settings"
            missing = FileMissing(message, operation="autostart")
            missing.filename = FILES[0]
            raise missing
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return cls.loads(file.read(), on_loss=on_loss, source=os.fspath(path))

    @classmethod
    def loads(cls, text: str, *, on_loss: OnLoss = "warn", source: str | None = None) -> Self:
        """Read the settings from a text: lines such as ``XENDOMAINS_AUTO=/etc/xen/auto``.

        A variable that is empty turns off what it is for. One that is missing has its default.

        Args:
            text: The text. It is not run: a shell's ``$VARIABLE`` and the like are refused.
            on_loss: What to do about what cannot be honoured, such as options of ``xl migrate``: ``"warn"``,
                ``"raise"`` or ``"ignore"``.
            source: Name of the file, for messages.

        Raises:
            ParseError: A line is not an assignment, or a value is not valid; with its line.
            LossyConversion: Something cannot be honoured, and ``on_loss`` is ``"raise"``.
        """
        fields: dict[str, Any] = {}
        losses: list[Loss] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                _read_line(line, number, fields, losses)
            except ValueError as error:
                raise ParseError(str(error), source=source, line=number, column=1) from None
        report(losses, on_loss, source)
        return cls(**fields)


def _read_line(line: str, number: int, fields: dict[str, Any], losses: list[Loss]) -> None:
    """Read a line into fields.

    Raises:
        ValueError: It is not valid.
    """
    words = shlex.split(line, comments=True)
    if not words:
        return
    found = _LINE.match(line)
    if found is None or len(words) != 1 + line.lstrip().startswith("export "):
        raise ValueError(f"{quoted(line.strip())} is not an assignment such as XENDOMAINS_AUTO=/etc/xen/auto")
    name, value = words[-1].split("=", 1)
    if not name.startswith("XENDOMAINS_"):
        return  # the script runs the file, which may set other things
    if _EXPANDED.search(value):
        raise ValueError(f"{name}={quoted(value)}: this file is not run by a shell: write the value itself")
    read = _READERS.get(name)
    if read is None:
        losses.append(Loss(f"{name} (line {number})", value, "xendomains has no such setting"))
        return
    lost = read(fields, value)
    if lost is not None:
        losses.append(Loss(f"{name} (line {number})", value, lost))


_Reader = Callable[[dict[str, Any], str], str | None]
"""A function that sets fields by a value. It returns what cannot be honoured, and raises `ValueError`."""


def _folder(field: str) -> _Reader:
    def read(fields: dict[str, Any], value: str) -> None:
        fields[field] = value or None

    return read


def _is_true(field: str) -> _Reader:
    def read(fields: dict[str, Any], value: str) -> str | None:
        fields[field] = value == "true"
        return None if value in {"true", "false", ""} else "xendomains takes all but true for false"

    return read


def _shutdown(field: str) -> _Reader:
    def read(fields: dict[str, Any], value: str) -> str | None:
        words = value.split()
        fields[field] = bool(words)
        fields[f"{field}_waits"] = bool({"--wait", "-w"} & set(words))
        odd = [word for word in words if word not in {"--wait", "-w", "--all", "-a"}]
        return f"{' '.join(odd)} is left out" if odd else None

    return read


def _seconds(field: str, per_second: int) -> _Reader:
    def read(fields: dict[str, Any], value: str) -> None:
        if value and not (value.isascii() and value.isdigit()):
            raise ValueError(f"{quoted(value)} is not a number of {'seconds' if per_second == 1 else 'microseconds'}")
        fields[field] = float(value or 0) / per_second

    return read


def _stop_timeout(fields: dict[str, Any], value: str) -> None:
    _seconds("stop_timeout_s", 1)(fields, value)
    fields["stop_timeout_s"] = fields["stop_timeout_s"] or None


def _migrate(fields: dict[str, Any], value: str) -> str | None:
    words = value.split()
    plain = [word for word in words if not word.startswith("-")]
    if len(plain) > 1:
        raise ValueError(f"{quoted(value)}: one host is needed, without options that have values")
    fields["migrate"] = plain[0] if plain else None
    options = [word for word in words if word.startswith("-") and word != "--live"]
    return f"{' '.join(options)} is left out" if options else None


def _sysrq(fields: dict[str, Any], value: str) -> None:
    fields["sysrq"] = tuple(value.split())


_READERS: Final[dict[str, _Reader]] = {
    "XENDOMAINS_AUTO": _folder("auto"),
    "XENDOMAINS_SAVE": _folder("save"),
    "XENDOMAINS_RESTORE": _is_true("restore"),
    "XENDOMAINS_MIGRATE": _migrate,
    "XENDOMAINS_SHUTDOWN": _shutdown("shutdown"),
    "XENDOMAINS_SHUTDOWN_ALL": _shutdown("shutdown_all"),
    "XENDOMAINS_AUTO_ONLY": _is_true("auto_only"),
    "XENDOMAINS_CREATE_USLEEP": _seconds("create_delay_s", _USEC_PER_S),
    "XENDOMAINS_STOP_MAXWAIT": _stop_timeout,
    "XENDOMAINS_SYSRQ": _sysrq,
    "XENDOMAINS_USLEEP": _seconds("sysrq_delay_s", _USEC_PER_S),
}
"""The variables, and what sets the fields by them."""
