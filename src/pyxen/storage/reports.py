"""The reports of LVM's tools: JSON, with all values as text, sizes in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pyxen.errors import StorageError

__all__ = ["OPTIONS", "Row", "read_log", "read_report"]

OPTIONS: Final = ("--reportformat", "json", "--units", "b", "--nosuffix")
"""Options with which LVM's tools write a report that `read_report` reads."""

Row = Mapping[str, str]
"""A row of a report: the fields by name."""


def read_report(text: str, kind: str) -> list[Row]:
    """Return the rows of a report.

    Args:
        text: What the tool printed.
        kind: The kind of the rows: ``vg``, ``lv`` or ``pv``.

    Raises:
        StorageError: It is not such a report.
    """
    try:
        rows: Any = json.loads(text)["report"][0][kind]
        return [{str(name): str(value) for name, value in row.items()} for row in rows]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StorageError(f"the report of LVM cannot be read: {error}") from error


def read_log(text: str) -> list[str]:
    """Return the messages in a report, where newer releases of LVM put what they complain of."""
    try:
        rows: Any = json.loads(text)["log"]
        messages = [str(row.get("log_message", "")) for row in rows if row.get("log_type") != "status"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return list(dict.fromkeys(messages))
