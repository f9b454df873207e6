"""Durations are checked in one place, whichever function of pyxen they are given to."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyxen._durations import LONGEST_WAIT
from pyxen.autostart import XendomainsSettings
from pyxen.cli.app import app
from pyxen.doctor import Surroundings, examine
from pyxen.errors import Error, InvalidArgument
from pyxen.images import Access, from_cloud_image, from_distribution
from pyxen.metrics import HostCollector
from pyxen.remus import RemusOptions
from pyxen.storage import VolumeGroup, create_image, image_info, volume_groups
from pyxen.supervisor import Brake

ACCESS = Access(hostname="web", ssh_keys=["ssh-ed25519 AAAA web"])

TAKERS: dict[str, Callable[[Any, Path], object]] = {
    "examine": lambda seconds, folder: examine(Surroundings(folder), timeout=seconds),
    "Surroundings": lambda seconds, folder: Surroundings(folder, timeout=seconds),
    "image_info": lambda seconds, folder: image_info(folder / "image", timeout=seconds),
    "create_image": lambda seconds, folder: create_image(folder / "image", "1M", format="qcow2", timeout=seconds),
    "VolumeGroup": lambda seconds, _: VolumeGroup("vg0", timeout=seconds),
    "volume_groups": lambda seconds, _: volume_groups(timeout=seconds),
    "from_cloud_image": lambda seconds, folder: from_cloud_image(
        folder / "image", folder / "disk", ACCESS, timeout=seconds
    ),
    "from_distribution": lambda seconds, folder: from_distribution(
        folder / "disk", ACCESS, mirror="not\na mirror", timeout=seconds
    ),
    "metrics": lambda seconds, _: HostCollector("memory:///", timeout=seconds).close(),
    "remus": lambda seconds, _: RemusOptions(interval=seconds),
    "Brake": lambda seconds, _: Brake(max_delay=seconds),
    "create_delay_s": lambda seconds, _: XendomainsSettings(create_delay_s=seconds),
    "stop_timeout_s": lambda seconds, _: XendomainsSettings(stop_timeout_s=seconds),
    "sysrq_delay_s": lambda seconds, _: XendomainsSettings(sysrq_delay_s=seconds),
}
"""What takes a duration and is not an operation, with what it needs beside."""


class Several:
    """Converts to a float as an array does: not if it has several values."""

    def __float__(self) -> float:
        raise TypeError("only length-1 arrays can be converted to Python scalars")

    def __repr__(self) -> str:
        return "several"


WRONG = [math.nan, -1, -math.inf, "5", True, timedelta(seconds=1), [], Decimal("sNaN"), Decimal(-1), Several()]


@pytest.mark.parametrize("seconds", [*WRONG, pytest.param(-(10**5000), id="huge")], ids=repr)
@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_no_duration_is_refused_in_the_same_words(taker: str, seconds: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"=.*: give (a number of )?seconds|seconds is out of range: use"):
        TAKERS[taker](seconds, tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 10**400, 1e10], ids=["inf", "1e300", "int", "1e10"])
@pytest.mark.parametrize("taker", TAKERS)
def test_a_duration_without_end_is_no_fault_of_the_caller(taker: str, seconds: Any, tmp_path: Path) -> None:
    said = ""
    try:
        TAKERS[taker](seconds, tmp_path)
    except Error as error:  # what else it needs may be missing on this machine
        said = str(error)
    assert ": give" not in said


def test_top_waits_as_long_as_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    runner = CliRunner()
    assert runner.invoke(app, ["--uri", "memory:///durations", "top", "--once", "-d", "inf", "--json"]).exit_code == 0
    assert waits == [LONGEST_WAIT]
    refused = runner.invoke(app, ["--uri", "memory:///durations", "top", "--once", "-d", "nan"])
    assert refused.exit_code == 2


def test_settings_of_xendomains_with_many_digits_are_read() -> None:
    settings = XendomainsSettings.loads("XENDOMAINS_CREATE_USLEEP=" + 400 * "9")
    assert settings.create_delay_s == math.inf


@pytest.mark.parametrize(
    "value", [Decimal("0.5"), Fraction(1, 2), 1, 10**400], ids=["Decimal", "Fraction", "int", "huge"]
)
def test_settings_of_xendomains_are_floats(value: Any) -> None:
    settings = XendomainsSettings(create_delay_s=value, stop_timeout_s=value, sysrq_delay_s=value)
    seconds = math.inf if value == 10**400 else float(value)
    kept = (settings.create_delay_s, settings.stop_timeout_s, settings.sysrq_delay_s)
    assert [*map(repr, kept)] == [*map(repr, (seconds, None if seconds == math.inf else seconds, seconds))]
