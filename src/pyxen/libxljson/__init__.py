"""libxl's own JSON format of domains, which ``xl -N create`` and ``xl list -l`` print and libxl stores for each domain.

`dumps` writes input for ``libxl_domain_config_from_json``, and `loads` reads output of
``libxl_domain_config_to_json``. Like libxl, this package leaves out defaults. It also leaves out structs that are then
empty (``"sched_params": {}``), which libxl writes but does not need. Nothing here depends on the release of Xen.

`to_dict` and `from_dict` convert to and from plain objects instead of text; `device_to_dict` converts one device.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from pyxen._common.whole_file import write_whole
from pyxen.config import DomainConfig, Part
from pyxen.errors import ConfigError, ParseError
from pyxen.libxljson.device_tables import DEVICES
from pyxen.libxljson.domain import decode, encode
from pyxen.libxljson.table import Table
from pyxen.libxljson.text import MAX_SIZE, parse, write
from pyxen.libxljson.value_kinds import Place
from pyxen.losses import Loss, OnLoss, report

__all__ = [
    "MAX_SIZE",
    "device_from_dict",
    "device_to_dict",
    "dump",
    "dumps",
    "from_dict",
    "load",
    "loads",
    "loads_list",
    "losses",
    "to_dict",
]

_Device = TypeVar("_Device", bound=Part)


def to_dict(config: DomainConfig, *, on_loss: OnLoss = "raise") -> dict[str, Any]:
    """Return the libxl_domain_config of a configuration, as plain objects.

    Args:
        config: The configuration.
        on_loss: What to do about settings that libxl's structs cannot hold, e.g. those of another guest type:
            ``"raise"``, ``"warn"`` or ``"ignore"``.

    Returns:
        An object for `json.dumps`.

    Raises:
        LossyConversion: libxl's structs cannot hold all of it, and ``on_loss`` is ``"raise"``.
    """
    place = Place()
    document = encode(config, place)
    report(place.losses, on_loss)
    return document


def from_dict(document: Any, *, on_loss: OnLoss = "raise") -> DomainConfig:
    """Return the configuration in a libxl_domain_config, given as plain objects.

    Args:
        document: The struct, or an item of ``xl list -l`` with the struct under ``config``.
        on_loss: What to do about settings that pyxen does not know: ``"raise"``, ``"warn"`` or ``"ignore"``.

    Returns:
        The configuration, in its canonical form.

    Raises:
        LossyConversion: pyxen does not know all of it, and ``on_loss`` is ``"raise"``.
        ConfigError: A value is not valid; the error's ``path`` gives its place.
    """
    return _read(document, on_loss)[1]


def dumps(config: DomainConfig, *, on_loss: OnLoss = "raise") -> str:
    """Return a configuration as libxl's JSON, as ``xl -N create`` prints it.

    Arguments and errors are those of `to_dict`.
    """
    return write(to_dict(config, on_loss=on_loss))


def loads(text: str | bytes, *, on_loss: OnLoss = "raise", source: str | None = None) -> DomainConfig:
    """Read libxl's JSON of one domain.

    Args:
        text: Output of ``libxl_domain_config_to_json`` or ``xl -N create``, or of ``xl list -l`` for one domain.
        on_loss: As for `from_dict`.
        source: Name of the file, for errors.

    Returns:
        The configuration, in its canonical form.

    Raises:
        ParseError: The text is not JSON, or has more or fewer than one domain.
        LossyConversion: pyxen does not know all of it, and ``on_loss`` is ``"raise"``.
        ConfigError: A value is not valid; a `ParseError` where ``source`` names the file.
    """
    document = parse(text, source)
    if isinstance(document, list):
        if len(document) != 1:
            raise ParseError(
                f"the text is a list of {len(document)} domains, and one is needed: "
                "take one of its items, or print one domain with xl list -l NAME",
                source=source,
            )
        document = document[0]
    return _read(document, on_loss, source)[1]


def loads_list(
    text: str | bytes, *, on_loss: OnLoss = "raise", source: str | None = None
) -> list[tuple[int | None, DomainConfig]]:
    """Read the output of ``xl list -l``.

    Args:
        text: A list of domains, or one domain.
        on_loss: As for `from_dict`.
        source: Name of the file, for errors.

    Returns:
        The domid, or None if it is missing, and the configuration of each domain.

    Raises:
        ParseError: The text is not JSON.
        LossyConversion: pyxen does not know all of it, and ``on_loss`` is ``"raise"``.
        ConfigError: A value is not valid; a `ParseError` where ``source`` names the file.
    """
    document = parse(text, source)
    items = document if isinstance(document, list) else [document]
    return [_read(item, on_loss, source) for item in items]


def dump(config: DomainConfig, path: str | os.PathLike[str], *, on_loss: OnLoss = "raise") -> None:
    """Write a configuration to a file. Arguments and errors are as of `dumps`, and `OSError`.

    The file takes the place of an older one when it is complete, with the mode, the owner and the attributes of the
    older one. If nothing can take its place, as in a folder that is not writable, or if it has hard links, it is
    written in place: then an error may leave it half-written.
    """
    write_whole(path, (dumps(config, on_loss=on_loss) + "\n").encode())


def load(path: str | os.PathLike[str], *, on_loss: OnLoss = "raise") -> DomainConfig:
    """Read a configuration from a file. Arguments are those of `loads`.

    Raises:
        OSError: The file cannot be read. This is Python's own, `FileNotFoundError` and the like, and no `pyxen.Error`.
        ConfigError: As `loads`.
    """
    with open(path, "rb") as file:
        return loads(file.read(), on_loss=on_loss, source=os.fspath(path))


def losses(config: DomainConfig) -> tuple[Loss, ...]:
    """Return the parts of a configuration that `dumps` would lose."""
    place = Place()
    encode(config, place)
    return tuple(place.losses)


def device_to_dict(device: Part, *, on_loss: OnLoss = "raise") -> dict[str, Any]:
    """Return one device as libxl's struct (``libxl_device_disk`` …), as plain objects.

    Args:
        device: A `Disk`, `Vif`, `Pci` …
        on_loss: As for `to_dict`.

    Raises:
        LossyConversion: The struct cannot hold all of it, and ``on_loss`` is ``"raise"``.
        TypeError: libxl has no struct for such devices.
    """
    place = Place()
    struct = _table(type(device)).encode(device, place)
    report(place.losses, on_loss)
    return struct


def device_from_dict(kind: type[_Device], struct: Any, *, on_loss: OnLoss = "raise") -> _Device:
    """Return the device in libxl's struct.

    Args:
        kind: `Disk`, `Vif`, `Pci` …
        struct: The struct, as plain objects.
        on_loss: As for `from_dict`.

    Raises:
        LossyConversion: pyxen does not know all of it, and ``on_loss`` is ``"raise"``.
        ConfigError: A value is not valid.
        TypeError: libxl has no struct for such devices.
    """
    place = Place()
    device = kind.from_dict(_table(kind).decode(struct, place))
    report(place.losses, on_loss)
    return device


def _read(document: Any, on_loss: OnLoss, source: str | None = None) -> tuple[int | None, DomainConfig]:
    """Return the domid, if there is one, and the configuration; errors and losses name the source."""
    place = Place()
    try:
        domid, struct = _unwrapped(document)
        config = decode(struct, place)
    except ConfigError as error:
        if source is None:
            raise
        raise ParseError(error.message, source=source, path=error.path) from None
    report(place.losses, on_loss, source)
    return domid, config


def _table(kind: type[Part]) -> Table:
    if kind not in DEVICES:
        raise TypeError(f"libxl has no struct for a {kind.__name__}")
    return DEVICES[kind]


def _unwrapped(document: Any) -> tuple[int | None, Any]:
    """Split an item of ``xl list -l`` into its domid and configuration."""
    if isinstance(document, dict) and "config" in document and "c_info" not in document:
        domid = document.get("domid")
        if domid is not None and (not isinstance(domid, int) or isinstance(domid, bool)):
            raise ConfigError("domid: takes a whole number", path="domid")
        return domid, document["config"]
    return None, document
