"""A command's connection to a host: who is meant, what goes wrong, and whether to go on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from pyxen._printable import quoted
from pyxen.cli.files import complain, read, said_of
from pyxen.cli.output import cell, document
from pyxen.cli.status import ExitStatus, status_of
from pyxen.config import CpuSet, DomainConfig
from pyxen.connection import connect
from pyxen.conversion import Spelling
from pyxen.cpupool import Cpupool
from pyxen.domain import Domain
from pyxen.errors import ConfigError, DomainNotFound, Error, LossyConversion, NotFound, ParseError
from pyxen.host import Host
from pyxen.losses import Loss, OnLoss

if TYPE_CHECKING:
    from pyxen.xlconf import XlConf

__all__ = [
    "as_created",
    "config_of",
    "config_said",
    "confirm",
    "cpus_of",
    "decimal",
    "destroyed",
    "domain_of",
    "ended_in_order",
    "host_at",
    "interrupted_as",
    "named",
    "pool_of",
    "report",
    "stays",
    "told",
    "vcpu_of",
    "warn_of_sxp",
    "xl_conf_of",
]

_SETTING: Final = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*\s*\+?=")
"""The beginning of a setting in xl's language."""
_DECIMAL: Final = re.compile("[0-9]{1,18}")

XL_CONF_VARIABLE: Final = "PYXEN_XL_CONF"
"""The variable with the file of xl's settings, such as ``/etc/xen/xl.conf``, that commands are to honour."""

_STAYS: Final = "what was done until then stays"
"""What is said of Ctrl-C where nothing is known of what had begun. It holds for all that takes several steps."""


@contextlib.contextmanager
def host_at(uri: str, *, follows: bool = False) -> Iterator[Host]:
    """Open a host for a command, and close it afterwards; see `told` for what goes wrong.

    Args:
        uri: The host.
        follows: Ctrl-C is the usual end of the command, so nothing is said of it.
    """
    with told(follows=follows), ended_in_order(), connect(uri, xl_conf=xl_conf_of(uri)) as host:
        yield host


def xl_conf_of(uri: str, *, on_loss: OnLoss = "warn") -> XlConf | None:
    """Return the settings of xl in the file that the environment names, for a host that has none of its own.

    Raises:
        ParseError: The file is not valid.
        typer.Exit: It cannot be read. That is said.
    """
    path = os.environ.get(XL_CONF_VARIABLE)
    if not path or uri.partition(":")[0] not in {"xenlight", "memory"}:
        return None
    from pyxen.xlconf import XlConf

    try:
        return XlConf.load(path, on_loss=on_loss)
    except OSError as error:
        complain(f"{XL_CONF_VARIABLE}: {said_of(path, error)}")
        raise typer.Exit(ExitStatus.USAGE) from None


def as_created(config: DomainConfig, uri: str) -> DomainConfig:
    """Return a configuration as a create makes it of the settings of xl, if the environment names their file.

    The host is asked only if they confine the guest to some of its CPUs.
    """
    conf = xl_conf_of(uri)
    if conf is None:
        return config
    nodes: dict[int, tuple[int, ...]] = {}
    if conf.has_masks(config.type):
        with connect(uri) as host:
            nodes = host.topology().node_cpus
    return conf.applied(config, sorted(cpu for members in nodes.values() for cpu in members), nodes)


def warn_of_sxp(uri: str) -> None:
    """Say that a configuration is printed as JSON, if xl.conf asks for the format of xm, which came before xl."""
    conf = xl_conf_of(uri, on_loss="ignore")  # what is lost of it has been said
    if conf is not None and conf.output_format == "sxp":
        complain(
            'xl.conf says output_format="sxp", xm\'s format, which pyxen does not write; this is JSON: '
            "let what reads it read JSON, or run xl for it",
            style="bold yellow",
            label="warning",
        )


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act as Ctrl-C, so that operations that have begun are cancelled; nohup still works."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def told(*, follows: bool = False) -> Iterator[None]:
    """Say what goes wrong, and end the command with the exit status for it.

    Raises:
        typer.Exit: An error of pyxen, a file that cannot be read, or Ctrl-C.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _complain_of  # what a conversion loses, among them
            yield
    except Error as error:
        complain(str(error))
        raise typer.Exit(status_of(error)) from None
    except KeyboardInterrupt as end:
        if not follows:
            complain(f"interrupted: {str(end) or _STAYS}")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None


@contextlib.contextmanager
def interrupted_as(outcome: str) -> Iterator[None]:
    """Have `told` say of Ctrl-C what has become of the work, unless what was interrupted has said it itself.

    Args:
        outcome: What was undone, and what stays.
    """
    try:
        yield
    except KeyboardInterrupt as end:
        raise KeyboardInterrupt(str(end) or outcome) from None


def stays(domain: Domain) -> contextlib.AbstractContextManager[None]:
    """Have `told` say of Ctrl-C that a domain is there that was made before it."""
    return interrupted_as(f"{named(domain)} was made before, and stays")


def destroyed(host: Host, made: Any) -> None:
    """Destroy a domain whose create succeeded just before Ctrl-C.

    Args:
        host: Its host.
        made: The domain, or what else has its domid and uuid.
    """
    left = host.domains.get(made.uuid)
    if left is not None and left.domid == made.domid:
        left.destroy()


def _complain_of(message: Warning | str, *_place: object, **_more: object) -> None:
    complain(str(message), style="bold yellow", label="warning")


def domain_of(host: Host, key: str) -> Domain:
    """Return the domain that a person names. A number is a domid, as for xl; all else is a name or a uuid.

    Raises:
        DomainNotFound: There is no such domain; the message has a name that looks like it.
    """
    try:
        return host.domains[_number_or_name(key)]
    except DomainNotFound as error:
        names = [domain.name for domain in host.domains if domain.name is not None]
        raise DomainNotFound(f"{error.message}{_hint(key, names)}") from None


def _hint(key: str, names: Sequence[str]) -> str:
    """Return the name that looks like one that is not there, for the end of a message."""
    import difflib

    similar = difflib.get_close_matches(key, names, n=1)
    return f"; did you mean {quoted(similar[0])}?" if similar else ""


def pool_of(host: Host, key: str) -> Cpupool:
    """Return the CPU pool that a person names: by its number, as for xl, or by its name.

    Raises:
        NotFound: There is no such pool; the message has a name that looks like it.
    """
    try:
        return host.cpupools[_number_or_name(key)]
    except NotFound as error:
        names = [info.name for info in host.cpupools.list() if info.name is not None]
        raise NotFound(f"{error.message}{_hint(key, names)}") from None


def _number_or_name(key: str) -> int | str:
    number = decimal(key)
    return key if number is None else number


def decimal(text: str) -> int | None:
    """Return the number that a person writes; None if it is not one, or has more digits than any number has here."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def vcpu_of(text: str) -> int | Literal["all"]:
    """Return the vCPU that a person names, or ``all``.

    Raises:
        BadParameter: It is neither.
    """
    if text == "all":
        return "all"
    number = decimal(text)
    if number is None:
        raise typer.BadParameter(f"{quoted(text)} is not the number of a vCPU, and not all")
    return number


def cpus_of(text: str) -> CpuSet:
    """Return the set of CPUs that a person writes, as ``0-3,^1``.

    Raises:
        ConfigError: It is not one.
    """
    try:
        return CpuSet(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def config_said(file: str, settings: Sequence[str] | None) -> DomainConfig:
    """Read a configuration of which a person writes a file and settings, or only settings, in any order as for xl.

    Args:
        file: The first word: the file, or a setting in xl's language. A file whose name looks like one is ``./a=b``.
        settings: The other words.

    Raises:
        typer.Exit: The file cannot be read. That is said.
        ConfigError: It is not a configuration.
    """
    words = [*(settings or ())]
    if not _SETTING.match(file):
        return config_of(file, words)
    named = next((word for word in words if "=" not in word), None)
    if named is not None:
        words.remove(named)
    return config_of(named, [file, *words])


def config_of(file: str | None, overrides: list[str] | None = None) -> DomainConfig:
    """Read a configuration in any format, and say what of it xl would pass over.

    Args:
        file: The file; ``-`` is standard input. None: there are only settings.
        overrides: Settings in xl's language that come after those of the file, as ``memory=512``.

    Raises:
        typer.Exit: The file cannot be read. That is said.
        ConfigError: It is not a configuration.
    """
    from pyxen import conversion

    try:
        text = b"" if file is None else read(file)
    except OSError as error:
        complain(said_of(str(file), error))
        raise typer.Exit(ExitStatus.USAGE) from None
    spelling = conversion.guess(text)
    if overrides and spelling != "xl":
        raise ConfigError(f"{file} is {spelling}, and only xl's configurations take settings on the command line")
    source = "<stdin>" if file == "-" else file or "settings"
    try:
        config, losses = _read(text, spelling, overrides or (), source)
    except ParseError as error:
        error.source = error.source or source
        raise
    for loss in losses:
        complain(f"{file or 'settings'}: {loss}", style="bold yellow", label="warning")
    return config


def _read(
    text: bytes, spelling: Spelling, overrides: Sequence[str], source: str
) -> tuple[DomainConfig, tuple[Loss, ...]]:
    from pyxen import conversion, xlcfg

    if not overrides:
        return conversion.read(text, spelling)
    try:
        return xlcfg.loads(text, overrides=overrides, on_loss="raise", source=source), ()
    except LossyConversion as error:
        return xlcfg.loads(text, overrides=overrides, on_loss="ignore", source=source), error.losses


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal whether to go on. Without a terminal only ``--yes`` goes on.

    Raises:
        typer.Exit: The answer is not yes; or there is no terminal, and no ``--yes``.
    """
    if yes:
        return
    if not _can_ask():
        complain(
            f"{question} There is no terminal on which to answer: --yes answers it",
            label="not done",
            style="bold yellow",
        )
        raise typer.Exit(ExitStatus.DECLINED)
    try:
        agreed = typer.confirm(cell(question), err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        complain("nothing was done", style="bold yellow", label="declined")
        raise typer.Exit(ExitStatus.DECLINED)


def _can_ask() -> bool:
    """Tell whether there is a terminal on which to ask and to answer."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def named(domain: Domain) -> str:
    """Return what a question calls a domain."""
    return f"domain {domain.domid}" if domain.name is None else f"{domain.name} (domid {domain.domid})"


def report(*domains: Domain, as_json: bool, many: bool = False) -> None:
    """Print with ``--json`` which domains a verb was about: their ``domid``, ``name`` and ``uuid``.

    Args:
        domains: The domains.
        as_json: Whether to print anything.
        many: Print a list, even of one.
    """
    if as_json:
        told = [{"domid": each.domid, "name": each.name, "uuid": str(each.uuid)} for each in domains]
        document(told if many else told[0])
