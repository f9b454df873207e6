"""When something does not boot, or a snapshot is broken."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lab import BootFailed, Lab, accelerator, cache, releases, snapshots
from lab.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def snapshot() -> Path:
    """The snapshot that all use."""
    release = releases.find(releases.DEFAULT)
    image = prepare(release).image
    return snapshots.ensure(release, image, accelerator.choose(release, image))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own that borrows everything but the snapshot; the folder of its release."""
    release = releases.find(releases.DEFAULT)
    parts = prepare(release)
    borrowed = cache.root() / release.xen
    own = tmp_path / "lab" / release.xen
    shutil.copytree(borrowed / "bytecode", own / "bytecode")  # goes into dom0 as it is, so not as a link
    (own / "image").mkdir()
    (own / "image" / parts.image.folder.name).symlink_to(parts.image.folder)  # not another checkout's
    for kind in ("buildroot", "extension"):
        (own / kind).mkdir()
        for version in (borrowed / kind).iterdir() if (borrowed / kind).is_dir() else []:
            (own / kind / version.name).symlink_to(version)
    monkeypatch.setenv("PYXEN_CACHE", str(tmp_path))
    return own


def test_a_broken_snapshot_is_made_anew(snapshot: Path, own_cache: Path) -> None:
    broken = own_cache / snapshot.parent.name / snapshot.name
    broken.mkdir(parents=True)
    (broken / "disk.qcow2").symlink_to(snapshot / "disk.qcow2")
    whole = (snapshot / "state").read_bytes()
    (broken / "state").write_bytes(whole[: len(whole) // 2])
    with Lab() as dom0:
        assert dom0.run(["xl", "list"]).status == 0
    assert [*broken.parent.iterdir()] == [broken]  # no other was used
    assert (broken / "state").stat().st_size > len(whole) // 2


def test_a_boot_that_fails_shows_the_console(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (borrowed,) = (own_cache / "image").iterdir()
    original = borrowed.readlink()
    borrowed.unlink()
    borrowed.mkdir()
    for name in ("xen", "vmlinux", "disk.img"):
        (borrowed / name).symlink_to(original / name)
    (borrowed / "initrd").write_bytes(b"no cpio archive" * 100)
    monkeypatch.setattr(snapshots, "BOOT_SECONDS", 90.0)
    with pytest.raises(BootFailed, match=r"(?s)console\.log: .*Kernel panic"), Lab(cold=True):
        pass
