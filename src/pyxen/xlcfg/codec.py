"""xl configurations to and from `DomainConfig`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from pyxen._common.whole_file import write_whole
from pyxen._printable import quoted
from pyxen.config import DomainConfig
from pyxen.config.libxl_defaults import without_defaults
from pyxen.errors import ConfigError, ParseError
from pyxen.losses import Loss, OnLoss, report
from pyxen.xlcfg.domain import read_domain
from pyxen.xlcfg.refused import refused_by_libxl, without_refused_items, without_refused_setting
from pyxen.xlcfg.roundtrip_loss import differences
from pyxen.xlcfg.settings import read_settings
from pyxen.xlcfg.source import Source
from pyxen.xlcfg.writer import layout, settings

__all__ = ["dump", "dumps", "load", "loads", "losses"]

_OVERRIDES: Final = "overrides"
"""The name of what is given beside the file, in messages."""

_BARE: Final = re.compile(r"\s*(\w+)\s*\+?=\s*[^\W\d]")
"""An override whose value is a word without quotes."""


def loads(
    text: str | bytes, *, overrides: Sequence[str] = (), on_loss: OnLoss = "warn", source: str | None = None
) -> DomainConfig:
    """Read an xl configuration, with xl's meaning.

    What xl warns of and ignores, or passes over in silence (an unknown key, ``acpi="yes"``, a setting of another guest
    type), is left out here too, and reported.

    Args:
        text: The configuration; bytes are UTF-8, other bytes are kept as surrogates.
        overrides: Settings that replace those of the text, as ``xl create web1.cfg 'memory=512'`` has them:
            ``["memory=512", 'name="web2"']``.
        on_loss: What to do about what xl passes over: ``"warn"`` (the default: xl goes on, too), ``"raise"`` or
            ``"ignore"``.
        source: Name of the file, for messages.

    Returns:
        The configuration.

    Raises:
        ParseError: xl would refuse it; with line and column. In an override, the source is ``overrides``, and the
            line is that of the overrides, each of which begins a line.
        LossyConversion: xl would pass over something, and ``on_loss`` is ``"raise"``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    lines = text.count("\n") + 1
    if overrides:
        text = "\n".join([text, *_checked(overrides), ""])
    try:
        read = Source(read_settings(text))
        config = read_domain(read)
    except ParseError as error:
        error.source = source
        if overrides and error.line is not None and error.line > lines:
            error.source, error.line = _OVERRIDES, error.line - lines
            error.message += _remedy(text.split("\n")[lines + error.line - 1 :])
        raise
    report(read.losses, on_loss, source)
    return config


def _checked(overrides: Sequence[str]) -> Sequence[str]:
    if isinstance(overrides, str):
        raise TypeError("overrides is a list of texts such as 'memory=512', not a text")
    for number, override in enumerate(overrides, 1):
        if "=" not in override:
            raise ParseError(
                f"{quoted(override)} is not a setting such as 'memory=512'", line=number, source=_OVERRIDES
            )
    return overrides


def _remedy(overrides: Sequence[str]) -> str:
    """Return what to do about an override that is wrong: mostly, the shell has taken its quotes."""
    bare = _BARE.match(overrides[0]) if overrides else None
    return f"; a text has its own quotes, besides those of a shell: '{bare[1]}=\"…\"'" if bare else ""


def load(path: str | os.PathLike[str], *, overrides: Sequence[str] = (), on_loss: OnLoss = "warn") -> DomainConfig:
    """Read an xl configuration from a file. Arguments are those of `loads`.

    Raises:
        OSError: The file cannot be read. This is Python's own, `FileNotFoundError` and the like, and no `pyxen.Error`.
        ConfigError: As `loads`.
    """
    with open(path, "rb") as file:
        return loads(file.read(), overrides=overrides, on_loss=on_loss, source=os.fspath(path))


def dumps(config: DomainConfig, *, on_loss: OnLoss = "raise") -> str:
    """Write a configuration as xl's, in modern spelling.

    The text is read back, so that nothing is lost in silence: what xl would not read as it was meant is reported. What
    xl would refuse, such as a disk without a name, is left out and reported. A number that xl cannot say exactly, such
    as a part of a MiB, is rounded up and reported.

    Args:
        config: The configuration.
        on_loss: What to do about what an xl configuration cannot say: ``"raise"``, ``"warn"`` or ``"ignore"``.

    Returns:
        The text. `loads` of it is the same configuration, apart from reported losses and what makes no difference
        (see `DomainConfig.canonical`).

    Raises:
        LossyConversion: It cannot say all of it, or xl or libxl would refuse it, and ``on_loss`` is ``"raise"``.
        ConfigError: A string holds a NUL character.
    """
    text, lost = _written(config)
    report(lost, on_loss)
    return text


def losses(config: DomainConfig) -> tuple[Loss, ...]:
    """Return what `dumps` would lose of a configuration."""
    return tuple(_written(config)[1])


def _written(config: DomainConfig) -> tuple[str, list[Loss]]:
    """Return the text of a configuration, without what xl would refuse, and all that is lost."""
    with suppress(ConfigError):  # which is looked into below
        text = layout(settings(config))
        if loads(text, on_loss="ignore") == config:
            return text, refused_by_libxl(config)
    return _written_in_part(config)


def _written_in_part(config: DomainConfig) -> tuple[str, list[Loss]]:
    """Do the same for a configuration of which xl would read something else."""
    config, lost = without_refused_items(config)
    while True:
        text = layout(settings(config))
        try:
            read = loads(text, on_loss="ignore")
        except ConfigError as error:
            less, loss = without_refused_setting(config, error)
            lost.append(loss)
            if less is None:
                return text, lost
            config = less
        else:
            # What libxl would choose anyway is not lost where xl.cfg leaves it to libxl.
            lost += differences(without_defaults(config).canonical(), without_defaults(read).canonical())
            return text, lost + refused_by_libxl(config)


def dump(config: DomainConfig, path: str | os.PathLike[str], *, on_loss: OnLoss = "raise") -> None:
    """Write a configuration to a file; arguments and errors as `dumps`, and OSError.

    The file takes the place of an older one when it is complete, with the mode, the owner and the attributes of the
    older one. If nothing can take its place, as in a folder that is not writable, or if it has hard links, it is
    written in place: then an error may leave it half-written.
    """
    write_whole(path, dumps(config, on_loss=on_loss).encode("utf-8", "surrogateescape"))
