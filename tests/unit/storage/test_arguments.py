"""Names and sizes of volumes: what LVM would not take is refused before a tool sees it."""

from __future__ import annotations

from typing import Any

import pytest

from pyxen import InvalidArgument
from pyxen.storage import VolumeGroup
from pyxen.storage.arguments import check_name, size_of


@pytest.mark.parametrize("name", ["web1", "a", "_x", "+", "a.b-c", "0", "x" * 127, "snap"])
def test_a_name(name: str) -> None:
    assert check_name(name, "volume", "create") == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-y", "--force", "a b", "a/b", "..", ".", "a\n", "é", "x" * 128, "a;b", "@tag", None, 7, b"a"),
        *("snapshot1", "pvmove0", "a_tmeta", "a_rimage_0", "x_vorigin"),
    ],
)
def test_a_name_that_is_not_valid(name: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is not the name of a volume|LVM keeps for itself"):
        check_name(name, "volume", "create")


@pytest.mark.parametrize("name", ["", "-y", "vg0/web1", "..", None])
def test_a_group_that_is_not_valid(name: Any) -> None:
    with pytest.raises(InvalidArgument, match="is not the name of a volume group"):
        VolumeGroup(name)


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [
        *((512, 512), (1, 512), (513, 1024), ("1", 512), ("4096B", 4096), ("1k", 1024), ("512M", 512 << 20)),
        *(("20G", 20 << 30), ("20GiB", 20 << 30), ("2T", 2 << 40)),
    ],
)
def test_a_size(size: int | str, size_bytes: int) -> None:
    assert size_of(size, "create") == size_bytes


@pytest.mark.parametrize(
    "size",
    [0, -1, "0", "", "G", "1.5G", "-1G", "1 G", "100%FREE", "1GB", "1P", "٣G", 1.5, None, True, 1 << 63, "9" * 30],
)
def test_a_size_that_is_not_valid(size: Any) -> None:
    with pytest.raises(InvalidArgument):
        size_of(size, "create")
