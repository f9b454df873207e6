"""Single devices in xl's format, for `Device.from_xl`, `Device.to_xl` and ``str(device)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pyxen.config import Device, Disk, DomainConfig, Part, settings_of
from pyxen.config.checks import hide_keys
from pyxen.errors import ConfigError, LossyConversion, ParseError
from pyxen.losses import Loss, OnLoss, report, shown
from pyxen.xlcfg.device_grammars import GRAMMARS, Grammar
from pyxen.xlcfg.disk import read_disk_arguments
from pyxen.xlcfg.grammar import assignments
from pyxen.xlcfg.item_grammar import Note, SpecError, unnoted
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.roundtrip_loss import differences
from pyxen.xlcfg.source import shortened
from pyxen.xlcfg.values import format_value

__all__ = ["read_arguments", "read_device", "show_device", "write_device"]

D = TypeVar("D", bound=Device)

_BY_CLASS: Final = {grammar.part: grammar for grammar in GRAMMARS.values()}

_LISTS: Final = ("vsnd",)
"""Keys whose items are lists of strings."""


def read_device(kind: type[D], text: str, on_loss: OnLoss) -> D:
    """Implement `Device.from_xl`."""
    grammar = _grammar(kind)
    return _read(kind, lambda note: grammar.read(_item(grammar.key, text), note), on_loss)


def read_arguments(kind: type[D], arguments: Sequence[str]) -> D:
    """Read a device from the arguments of a command such as ``xl block-attach``.

    What is a list in a configuration, such as a sound card, has its strings as arguments, or is one list in brackets.

    Raises:
        ParseError: xl would refuse them, or ignore a word of them in a configuration file.
    """
    try:
        if issubclass(kind, Disk):
            return _read(kind, lambda note: read_disk_arguments(arguments, note), "raise")
        grammar = _grammar(kind)
        if grammar.key in _LISTS and not (len(arguments) == 1 and arguments[0].lstrip().startswith("[")):
            return _read(kind, lambda note: grammar.read([_string(each) for each in arguments], note), "raise")
        return read_device(kind, ",".join(arguments), "raise")
    except LossyConversion as error:
        key = _grammar(kind).key
        words = "; ".join(f"{loss.value}: {loss.reason}" for loss in error.losses)
        raise ParseError(f"{key}: correct or leave out what would have no effect: {words}", path=key) from None


def _read(kind: type[D], read: Callable[[Note], Any], on_loss: OnLoss) -> D:
    grammar = _grammar(kind)
    losses: list[Loss] = []

    def note(value: str, reason: str) -> None:
        losses.append(Loss(grammar.key, shortened(hide_keys(value)), reason))

    try:
        device = read(note)
    except ParseError:
        raise
    except (SpecError, ConfigError) as error:
        raise ParseError(hide_keys(f"{grammar.key}: {error}"), path=grammar.key) from None
    report(losses, on_loss)
    return kind(**{name: getattr(device, name) for name in settings_of(grammar.part)})


def _grammar(kind: type[Device]) -> Grammar:
    for base in kind.__mro__:
        if base in _BY_CLASS:
            return _BY_CLASS[base]
    names = ", ".join(sorted(part.__name__ for part in _BY_CLASS))
    raise ConfigError(f"{kind.__name__} has no text in xl.cfg; these classes have one: {names}")


def _string(text: object) -> str:
    if not isinstance(text, str):
        raise SpecError(f"a string is needed, not {'None' if text is None else type(text).__name__}")
    if "\0" in text:
        raise SpecError("an xl configuration cannot hold a NUL character")
    return text


def _item(key: str, text: object) -> Any:
    text = _string(text)
    if key not in _LISTS:
        return text
    before = f"{key} = "
    try:
        found = assignments(f"{before}{text}\n")
    except ParseError as error:
        column = error.column - len(before) if error.line == 1 and error.column is not None else error.column
        raise ParseError(f"{key}: {error.message}", line=error.line, column=column, path=key) from None
    if len(found) != 1 or not isinstance(found[0].value, list):
        raise SpecError('a list in brackets is needed, such as ["CARD, short-name=Main", "PCM, name=Out"]')
    if not all(isinstance(word, str) for word in found[0].value):
        raise SpecError("the list may contain strings only, not other lists")
    return found[0].value


def write_device(device: Device, on_loss: OnLoss) -> str:
    """Implement `Device.to_xl`."""
    grammar = _grammar(type(device))
    if on_loss != "ignore":
        report(_losses(grammar, device), on_loss)
    return _text(grammar, device)


def show_device(device: Device) -> str:
    """Implement ``str(device)``."""
    return _text(_grammar(type(device)), _masked(device))


def _text(grammar: Grammar, device: Part) -> str:
    written = grammar.write(device)
    return written if isinstance(written, str) else format_value(written)


def _masked(part: Part) -> Part:
    """Return a copy of a part with its secrets masked."""
    changes: dict[str, Any] = {}
    for name, known in settings_of(type(part)).items():
        value = getattr(part, name)
        if isinstance(value, Part):
            inner = _masked(value)
            if inner is not value:
                changes[name] = inner
        elif known.secret is not None and value is not None:
            changes[name] = known.secret(str(value))
    return part.replace(**changes) if changes else part


def _losses(grammar: Grammar, device: Device) -> list[Loss]:
    """Return what the text of a device cannot say, by the paths of the device's settings."""
    try:
        read = grammar.read(grammar.write(device), unnoted)
    except (SpecError, ConfigError) as error:
        return [Loss(grammar.key, shown(device), hide_keys(f"xl would refuse it: {error}"))]
    field = KEYS[grammar.key].field
    before = f"{field}[0]."
    ours, theirs = (_alone(field, one) for one in (device, read))
    lost = [Loss(loss.path.removeprefix(before), loss.value, loss.reason) for loss in differences(ours, theirs)]
    number = getattr(device, "devid", None)
    if number != getattr(read, "devid", None):
        lost.append(Loss("devid", shown(number), "xl.cfg has no word for it: the place in the list is the number"))
    return lost


def _alone(field: str, device: Part) -> DomainConfig:
    """Return a configuration with one device, which has no number, in its canonical form."""
    unnumbered = device.replace(devid=None) if "devid" in settings_of(type(device)) else device
    return DomainConfig("device").replace(**{field: (unnumbered,)}).canonical()
