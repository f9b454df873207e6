"""What LVM 2.03 printed on a real host, read; and which domains have a volume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import pyxen
from pyxen import (
    Disk,
    DomainConfig,
    InvalidArgument,
    NotEnoughSpace,
    NotFound,
    StorageError,
    ToolMissing,
    VolumeExists,
    VolumeInUse,
)
from pyxen._common import programs
from pyxen._common.programs import Output
from pyxen.cli.app import app
from pyxen.storage import Volume, VolumeGroup, volume_groups
from pyxen.storage.holders import Holders, disks_of
from pyxen.storage.reports import read_report
from pyxen.storage.tools import complaint
from pyxen.storage.volumes import group_of, volume_of
from pyxen.testing import FakeHost

REPORT = """
  {
      "report": [
          {
              "lv": [
                  {"lv_name":"a-b", "vg_name":"vg0", "lv_uuid":"VTlweU", "lv_path":"/dev/vg0/a-b", "lv_size":"67108864", "lv_layout":"linear", "pool_lv":"", "origin":"", "lv_active":"active", "lv_device_open":"open", "data_percent":""},
                  {"lv_name":"s1", "vg_name":"vg0", "lv_uuid":"30ad1U", "lv_path":"/dev/vg0/s1", "lv_size":"16777216", "lv_layout":"linear", "pool_lv":"", "origin":"a-b", "lv_active":"active", "lv_device_open":"", "data_percent":"12.50"},
                  {"lv_name":"thin", "vg_name":"vg0", "lv_uuid":"IUEeIO", "lv_path":"/dev/vg0/thin", "lv_size":"1073741824", "lv_layout":"thin,sparse", "pool_lv":"tp", "origin":"", "lv_active":"", "lv_device_open":"unknown", "data_percent":"0.00"},
                  {"lv_name":"tp", "vg_name":"vg0", "lv_uuid":"30vHpy", "lv_path":"", "lv_size":"268435456", "lv_layout":"thin,pool", "pool_lv":"", "origin":"", "lv_active":"active", "lv_device_open":"open", "data_percent":"0.00"}
              ]
          }
      ]
      ,
      "log": [
      ]
  }
"""  # noqa: E501 (as LVM prints it)

NOT_ROOT = """\
  WARNING: Running as a non-root user. Functionality may be unavailable.
  /run/lock/lvm/P_global:aux: open failed: Permission denied
"""


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as host:
        yield host


def test_volumes() -> None:
    plain, snapshot, thin, pool = map(volume_of, read_report(REPORT, "lv"))
    assert plain == Volume(
        name="a-b",
        group="vg0",
        uuid="VTlweU",
        path="/dev/vg0/a-b",
        size_bytes=64 << 20,
        pool=None,
        snapshot_of=None,
        is_pool=False,
        active=True,
        open=True,
        written_percent=None,
    )
    assert (snapshot.snapshot_of, snapshot.written_percent, snapshot.open) == ("a-b", 12.5, False)
    assert (thin.pool, thin.is_pool, thin.active, thin.open) == ("tp", False, False, False)
    assert (pool.is_pool, pool.path) == (True, None)
    assert plain.disk("xvdb") == Disk("/dev/vg0/a-b", vdev="xvdb")
    with pytest.raises(StorageError, match="is a thin pool, and no disk"):
        pool.disk()
    as_plain = thin.to_dict()
    assert json.loads(json.dumps(as_plain)) == as_plain


def test_a_group() -> None:
    text = (
        '{"report": [{"vg": [{"vg_name":"vg0", "vg_uuid":"HwnkCo", "vg_size":"4290772992", "vg_free":"3930062848", '
        '"vg_extent_size":"4194304", "pv_count":"1", "lv_count":"5", "snap_count":"1"}]}], "log": []}'
    )
    (info,) = map(group_of, read_report(text, "vg"))
    assert (info.name, info.size_bytes, info.free_bytes, info.volumes) == ("vg0", 4290772992, 3930062848, 5)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"report": []}', '{"report": [{"lv": 7}]}'])
def test_a_report_that_cannot_be_read(text: str) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_report(text, "lv")


def test_a_row_that_lacks_a_field() -> None:
    with pytest.raises(StorageError, match="lacks a field"):
        volume_of({"lv_name": "a"})
    with pytest.raises(StorageError, match="another form"):
        group_of({**dict.fromkeys(("vg_name", "vg_uuid", "vg_free", "vg_extent_size"), "1"), "vg_size": "1.00g"})


@pytest.mark.parametrize(
    ("words", "kind", "remedy"),
    [
        ('  Logical Volume "a" already exists in volume group "vg0"\n', VolumeExists, "use another one"),
        (
            '  Volume group "vg0" has insufficient free space (1007 extents): 16384 required.\n',
            NotEnoughSpace,
            "vgextend",
        ),
        ("  Logical volume vg0/a in use.\n", VolumeInUse, "shut the domain down"),
        ('  Volume group "nosuch" not found\n  Cannot process volume group nosuch\n', NotFound, "does not exist"),
        ('  Failed to find logical volume "vg0/zz"\n', NotFound, "does not exist"),
        (NOT_ROOT, StorageError, "as root"),
        ("  Snapshot origin volumes can be resized only while inactive: try lvchange -an.\n", StorageError, "refused"),
        ("", StorageError, "without a word"),
    ],
)
def test_what_lvm_complains_of(words: str, kind: type[Exception], remedy: str) -> None:
    error = complaint("lvcreate", Output(5, "", words), "create volume", "vg0/a")
    assert (type(error), error.code, error.operation) == (kind, 5, "create volume")
    assert remedy in error.message
    said = [line.strip() for line in words.splitlines() if "WARNING" not in line]
    assert [line for line in said if f"lvcreate: {line}" not in error.message] == []
    assert "WARNING" not in error.message


def test_complaints_in_the_report() -> None:
    """Newer releases of LVM write them there, and nothing to standard error."""
    same = '"log_context":"processing", "log_object_type":"vg", "log_object_name":"nosuch"'
    text = (
        '{"report": [{"lv": []}], "log": ['
        f'{{"log_seq_num":"1", "log_type":"error", {same}, "log_message":"Volume group \\"nosuch\\" not found"}}, '
        f'{{"log_seq_num":"2", "log_type":"error", {same}, "log_message":"Cannot process volume group nosuch"}}, '
        f'{{"log_seq_num":"3", "log_type":"status", {same}, "log_message":"failure"}}]}}'
    )
    error = complaint("lvs", Output(5, text, ""), "list volumes", "nosuch")
    assert isinstance(error, NotFound)
    assert error.message.splitlines()[1:] == [
        '  lvs: Volume group "nosuch" not found',
        "  lvs: Cannot process volume group nosuch",
    ]


@pytest.mark.parametrize(
    "target", ["/dev/vg0/a-b", "vg0/a-b", "/dev/mapper/vg0-a--b", "//dev//vg0/./a-b", "/dev/x/../vg0/a-b"]
)
def test_domains_that_have_a_volume(host: FakeHost, target: str) -> None:
    volume = volume_of(read_report(REPORT, "lv")[0])
    assert Holders(disks_of(host)).of(volume) == Holders([]).of(volume) == ()
    config = DomainConfig("web1", type="pvh", kernel="/k", memory=64, disks=[Disk(target, vdev="xvda")])
    host.create(config)
    host.define(config.replace(name="stored"))
    host.create(config.replace(name="other", disks=[Disk("/dev/vg0/a", vdev="xvda")]))
    assert Holders(disks_of(host)).of(volume) == ("web1", "stored")


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        ({"backend": "0"}, True),
        ({"backend": "Domain-0"}, True),
        ({"backend_domid": 0}, True),
        ({"backend": "storage"}, False),
        ({"backend_domid": 3}, False),
    ],
)
def test_disks_that_dom0_serves(settings: dict[str, Any], *, holds: bool) -> None:
    """However it is named; the volumes of another domain are others."""
    volume = volume_of(read_report(REPORT, "lv")[0])
    disk = Disk("/dev/vg0/a-b", vdev="xvda", **settings)
    assert Holders([("web1", disk)]).of(volume) == (("web1",) if holds else ())


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tools of LVM that change nothing, and the file with their calls. The volume of `REPORT` has 64 MiB."""
    written = tmp_path / "calls"
    (tmp_path / "report").write_text(REPORT)
    for name in ("lvs", "lvresize", "lvextend", "lvreduce"):
        script = f"cat {tmp_path}/report" if name == "lvs" else f'echo "{name} $@" >> {written}'
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return written


def test_a_volume_that_is_to_grow_does_not_shrink(calls: Path) -> None:
    """Another program may have made it larger since it was looked at."""
    group = VolumeGroup("vg0")
    with pytest.raises(StorageError, match="has not changed the size"):  # as the report says
        group.resize("s1", "128M")
    group.resize("s1", "8M", shrink=True)
    assert calls.read_text().splitlines() == [
        "lvextend --yes --size 134217728b vg0/s1",
        "lvresize --yes --size 8388608b vg0/s1",
    ]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("New size (4 extents) matches existing size (4 extents).", True),
        ("No size change.", True),
        ("New size given (4 extents) not larger than existing size (8 extents)", False),
    ],
)
def test_a_volume_that_has_the_size_already(calls: Path, words: str, *, same: bool) -> None:
    (calls.parent / "lvextend").write_text(f"#!/bin/sh\necho '  {words}' >&2\nexit 5\n")
    group = VolumeGroup("vg0")
    if same:
        assert group.resize("s1", "16M") == group["s1"]
    else:
        with pytest.raises(StorageError, match="not larger than existing size"):
            group.resize("s1", "16M")


@pytest.mark.parametrize("shrink", ["no", 1, None])
def test_shrink_is_true_or_false(calls: Path, shrink: Any) -> None:
    with pytest.raises(InvalidArgument, match="takes True or False"):
        VolumeGroup("vg0").resize("s1", "8M", shrink=shrink)
    assert not calls.exists()


def test_a_machine_without_lvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: FakeHost) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_SBIN", ())
    group = VolumeGroup("vg0", host=host)
    for call in (group.volumes, group.info, volume_groups, lambda: group.create("a", 512), lambda: group.remove("a")):
        with pytest.raises(ToolMissing, match="apt install lvm2"):
            call()
    with host.standing_in():
        result = CliRunner().invoke(app, ["volume", "list"])
    assert (result.exit_code, "apt install lvm2" in result.stderr) == (1, True)


def test_a_volume_without_a_group() -> None:
    result = CliRunner().invoke(app, ["volume", "create", "web1", "20G"])
    assert (result.exit_code, "as vg0/web1" in result.stderr) == (1, True)
    assert pyxen.storage.VolumeGroup is VolumeGroup
