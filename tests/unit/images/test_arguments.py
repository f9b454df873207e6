"""Arguments of images that are of the wrong kind: each is refused with its name, before anything is made."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import InvalidArgument, aio
from pyxen.images import Access, from_cloud_image, from_distribution
from pyxen.storage import VolumeGroup

ACCESS = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])
SIZES: list[Any] = ["20G", math.nan, 20.0, True, 0, -1, 10**30, 10**5000]
PATHS: list[Any] = [5, b"/a", "a\0b", "a\ud800", ""]


@pytest.mark.parametrize(
    "values",
    [
        {"hostname": None},
        {"hostname": 5},
        {"ssh_keys": [1]},
        {"ssh_keys": 5},
        {"ssh_keys": None},
        {"ssh_keys": {"ssh-ed25519 AAAA": 1}},
        {"ssh_keys": ["ssh-ed25519 AAAA me@\ud800"]},
        {"password": 5},
        {"password": b"secret"},
        {"password": "a\0b"},
        {"password": "a\udc80b"},
        {"password": "$6$\ud800"},
        {"address": 5},
        {"address": "fe80::1%a\nb/64"},
        {"address": "192.0.2.7/24", "gateway": 5},
        {"address": "192.0.2.7/24", "nameservers": [5]},
        {"address": "192.0.2.7/24", "nameservers": "192.0.2.53"},
        {"address": "192.0.2.7/24", "nameservers": None},
    ],
    ids=str,
)
def test_access(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Access(**{"hostname": "web1", "password": "x", **values})
    assert "secret" not in caught.value.message


def test_a_hash_fits_into_a_field_of_shadow() -> None:
    """Fields end at colons: this is a password."""
    hashed = Access("web1", password="$6$b:0").password_hash()  # noqa: S106 (of no guest)
    assert hashed is not None
    assert ":" not in hashed


@pytest.mark.parametrize(
    "arguments",
    [
        *({"size": size} for size in SIZES),
        *({"target": path} for path in [*PATHS, None]),
        *({"seed": path} for path in PATHS),
        *({"source": path} for path in [*PATHS, None]),
        {"access": None},
        {"group": "vg0", "seed": "/seed.iso"},
        {"group": aio.storage.VolumeGroup("vg0"), "seed": "/seed.iso"},
        {"group": VolumeGroup("vg0"), "target": 5, "seed": "/seed.iso"},
        {"overwrite": "no"},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_a_cloud_image(cloud_image: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    before = os.listdir(tmp_path)
    with pytest.raises(InvalidArgument):
        from_cloud_image(
            **{"source": cloud_image, "target": tmp_path / "web1", "access": ACCESS, "timeout": 30, **arguments}
        )
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        *({"size": size} for size in [*SIZES, 255]),
        *({"target": path} for path in [*PATHS, None]),
        {"access": None},
        {"group": "vg0"},
        {"overwrite": "no"},
        {"suite": None},
        {"suite": "a\0b"},
        {"packages": None},
        {"packages": "vim"},
        {"packages": [5]},
        {"packages": ["a\ud800"]},
        {"mirror": 5},
        {"mirror": [5]},
        {"kernel": 5},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_a_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("pyxen.images.distribution.program", lambda name, **_: name)
    with pytest.raises(InvalidArgument):
        from_distribution(**{"target": tmp_path / "web1", "access": ACCESS, "timeout": 0, **arguments})
    assert not [*tmp_path.iterdir()]
