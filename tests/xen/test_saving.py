"""Domains that stop and go on: suspend, save, restore, and the same with xl at the other end."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TypeVar

import pytest

from pyxen import DomainState, Host, Operation
from pyxen._common import savefile
from pyxen.errors import OperationFailed, OperationTimeout, ParseError
from tests.xen.support import MakeConfig, MakeDomain, runs, wait_until, xl, xl_domids

T = TypeVar("T")


def rises(operation: Operation[T]) -> T:
    """Watch the progress of an operation: it rises, and not only at the end; return its result."""
    seen = []
    deadline = time.monotonic() + 240
    while not operation.done() and time.monotonic() < deadline:
        if operation.progress is not None:
            seen.append(operation.progress[1])
        time.sleep(0.1)  # dom0 has one processor, and needs it for the stream
    assert seen == sorted(seen)
    assert any(0 < percent < 90 for percent in seen)
    return operation.result(0)


def test_xl_restores_what_we_saved_and_we_what_xl_saved(host: Host, moving_linux: MakeDomain, folder: Path) -> None:
    guest = moving_linux()
    name, uuid = guest.info().name, guest.uuid
    assert name is not None
    rises(guest.begin.save(folder / "ours", timeout=120))
    xl("restore", str(folder / "ours"))
    restored = host.domains[name]
    assert restored.uuid == uuid
    assert runs(restored)
    xl("save", name, str(folder / "theirs"))
    wait_until(lambda: name not in xl_domids())
    again = rises(host.begin.restore(folder / "theirs", paused=True, timeout=120))
    assert again.info().state is DomainState.PAUSED
    again.unpause()
    assert runs(again)
    again.destroy()


def test_a_full_disk(willing: MakeDomain, folder: Path) -> None:
    guest = willing()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "full", str(folder)], check=True, timeout=120)
    try:
        with pytest.raises(OperationFailed) as caught:
            guest.save(folder / "file", timeout=120)
        assert "No space left on device" in str(caught.value)
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=120)
    assert runs(guest)
    guest.destroy()


def test_a_guest_that_does_not_suspend(host: Host, tiny: MakeConfig, folder: Path) -> None:
    domain = host.create(tiny("pvh"))
    with pytest.raises(OperationTimeout):
        domain.suspend(timeout=2)
    with pytest.raises(OperationTimeout):
        domain.save(folder / "file", timeout=2)
    assert list(folder.iterdir()) == []
    assert domain.info().state is not DomainState.SHUTDOWN
    domain.destroy()


def test_a_saved_domain_that_is_damaged(host: Host, willing: MakeDomain, folder: Path) -> None:
    file = folder / "file"
    willing().save(file, timeout=120)
    with file.open("rb") as saved:
        savefile.read(saved.fileno())
        begins = os.lseek(saved.fileno(), 0, os.SEEK_CUR)
    whole = file.read_bytes()

    def fails(data: bytes, error: type[Exception], message: str) -> None:
        file.write_bytes(data)
        with pytest.raises(error, match=message):
            host.restore(file, timeout=120)
        assert [domain.domid for domain in host.domains] == [0]

    for length in (0, 1, 8, 16, 23):
        fails(whole[: begins + length], ParseError, "damaged")
    for length in (24, 40, 64, 70, 4000, 2_000_000):
        fails(whole[: begins + length], OperationFailed, "libxl")
    for place in (0, 8, 12, 16, 20):
        fails(whole[: begins + place] + b"\x55" + whole[begins + place + 1 :], ParseError, "damaged|newer|byte order")
    for place in (24, 32, 39, 64):
        fails(whole[: begins + place] + b"\x55" + whole[begins + place + 1 :], OperationFailed, "libxl")


def test_a_core_dump_that_fails(host: Host, tiny: MakeConfig, folder: Path) -> None:
    (folder / "core").write_text("an older one")
    without_a_map = host.create(tiny("pv"))
    with pytest.raises(OperationFailed, match="p2m_size"):
        without_a_map.core_dump(folder / "core")
    assert [path.read_text() for path in folder.iterdir()] == ["an older one"]
    without_a_map.destroy()
