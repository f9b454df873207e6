"""The files of domains that start and stop with their host, for both APIs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from pyxen import xlcfg
from pyxen._common.arguments import check_number
from pyxen._common.shortage import REMEDY, is_shortage
from pyxen.errors import Error, InvalidArgument, OperationFailed

__all__ = ["FAILURES", "auto_names", "check_parallel", "files_in", "is_saved", "make_folder"]

_SAVED: Final = b"Xen saved domain"
"""What files of saved domains begin with."""

FAILURES: Final = (Error, OSError, ValueError)
"""What can go wrong with one domain, which stops nothing."""


def files_in(folder: str | None) -> list[str]:
    """Return the files of a folder as a shell's ``*`` does: sorted, without hidden ones."""
    if folder is None or not os.path.isdir(folder):
        return []
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    return [path for path in paths if not os.path.isdir(path)]


def is_saved(path: str) -> bool:
    """Tell whether a file is a saved domain.

    Raises:
        OperationFailed: This process may have no more descriptors.
    """
    try:
        with open(path, "rb") as file:
            return os.path.isfile(path) and file.read(len(_SAVED)) == _SAVED
    except OSError as error:
        if is_shortage(error):
            raise OperationFailed(f"{path} cannot be read: {error}: {REMEDY}") from error
        return False


def auto_names(folder: str | None) -> Iterator[str]:
    """Return the names of the domains whose configurations are in a folder."""
    for path in files_in(folder):
        with contextlib.suppress(*FAILURES):
            yield xlcfg.load(path, on_loss="ignore").name


def make_folder(name: str | None, folder: str) -> None:
    """Make the folder to which a domain is saved.

    Raises:
        InvalidArgument: The name of the domain cannot be that of a file.
    """
    if not name or name.startswith(".") or os.path.basename(name) != name:
        message = f"the name {name!r} cannot be that of a file: rename the domain"
        raise InvalidArgument(message, operation="save", domain=name)
    os.makedirs(folder, mode=0o700, exist_ok=True)


def check_parallel(parallel: int) -> None:
    """Check how many domains are to be stopped at the same time.

    Raises:
        InvalidArgument: It is not a whole number, or is below 1.
    """
    check_number(parallel, "stop_all")
    if parallel < 1:
        raise InvalidArgument(f"parallel={parallel} is out of range: use 1 or more", operation="stop_all")
