"""Cloud images that would bring files of the host into a guest. They are refused before qemu-img opens them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxen import ImageError
from pyxen.images import Access, from_cloud_image

ACCESS = Access("web1", ssh_keys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"])
SECRET = b"of root alone\n"

DESCRIPTOR = """\
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"

RW 2048 FLAT "{secret}" 0

ddb.adapterType = "ide"
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host, as large as the disk of an image."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET.ljust(1 << 20, b"\0"))
    path.chmod(0o600)
    return path


def made(path: Path, *options: str) -> bytes:
    command = ["qemu-img", "create", "-q", *options, str(path)]
    subprocess.run([*command, *(["1M"] if "-b" not in options else [])], check=True, timeout=60)
    return path.read_bytes()


def described_in_text(secret: Path, source: Path) -> None:
    source.write_text("# Disk DescriptorFile\n" + DESCRIPTOR.format(secret=secret))


def described_without_the_comment(secret: Path, source: Path) -> None:
    source.write_text(DESCRIPTOR.format(secret=secret))


def described_in_a_sparse_file(secret: Path, source: Path) -> None:
    """A disk of 0 sectors: qemu-img looks for a description of other files."""
    header = bytearray(made(source, "-f", "vmdk"))
    header[12:20] = bytes(8)
    text = DESCRIPTOR.format(secret=secret).encode()
    header[512 : 512 + 20 * 512] = text.ljust(20 * 512, b"\0")
    source.write_bytes(header)


def backed(secret: Path, source: Path) -> None:
    made(source, "-f", "qcow2", "-b", str(secret), "-F", "raw")


def with_its_data_elsewhere(secret: Path, source: Path) -> None:
    elsewhere = source.with_name("elsewhere")
    made(source, "-f", "qcow2", "-o", f"data_file={elsewhere},data_file_raw=on")
    elsewhere.unlink()
    elsewhere.symlink_to(secret)


@pytest.mark.parametrize("make", [described_in_text, described_in_a_sparse_file, backed, with_its_data_elsewhere])
def test_an_image_that_refers_to_a_file_of_the_host(
    make: Callable[[Path, Path], None], secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "cloud.qcow2"
    make(secret, source)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "qemu-img").write_text(f'#!/bin/sh\ntouch {tmp_path}/opened\nexec {shutil.which("qemu-img")} "$@"\n')
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    with pytest.raises(ImageError, match="refers to another file"):
        from_cloud_image(source, tmp_path / "web1.qcow2", ACCESS)
    assert not (tmp_path / "opened").exists()
    assert not (tmp_path / "web1.qcow2").exists()


def test_a_description_that_does_not_look_like_one(secret: Path, tmp_path: Path) -> None:
    """It is taken for a raw disk with a text on it: qemu-img is not left to guess."""
    source = tmp_path / "cloud.qcow2"
    described_without_the_comment(secret, source)
    from_cloud_image(source, tmp_path / "web1.qcow2", ACCESS)
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "web1.qcow2", raw], check=True, timeout=60)
    assert SECRET not in raw.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["-f", "qcow2"],
        ["-f", "vmdk"],
        ["-f", "vmdk", "-o", "subformat=streamOptimized"],
        ["-f", "vdi"],
        ["-f", "vhdx"],
        ["-f", "vpc"],
        ["-f", "raw"],
    ],
    ids=" ".join,
)
def test_the_formats_that_are_read(options: list[str], tmp_path: Path) -> None:
    raw, source, target = tmp_path / "raw", tmp_path / "cloud", tmp_path / "web1.qcow2"
    raw.write_bytes(b"boots".ljust(8 << 20, b"\0"))
    convert = ["qemu-img", "convert", "-O", *options[1:]]
    subprocess.run([*convert, raw, source], check=True, timeout=60)
    from_cloud_image(source, target, ACCESS)
    subprocess.run(["qemu-img", "convert", "-O", "raw", target, tmp_path / "back"], check=True, timeout=60)
    assert (tmp_path / "back").read_bytes()[: 1 << 20] == raw.read_bytes()[: 1 << 20]


@pytest.mark.parametrize(
    ("content", "problem"), [(b"QED\0", "but qed"), (b"LUKS\xba\xbe", "but luks"), (b"COWD", "but an old vmdk")]
)
def test_a_format_that_is_not_read(content: bytes, problem: str, tmp_path: Path) -> None:
    source = tmp_path / "cloud"
    source.write_bytes(content.ljust(1 << 20, b"\0"))
    with pytest.raises(ImageError, match=problem):
        from_cloud_image(source, tmp_path / "web1.qcow2", ACCESS)


def test_another_image_that_gets_its_name_meanwhile(
    cloud_image: Path, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was looked at is copied: the other one would bring in a file of the host."""
    other = tmp_path / "other"
    backed(secret, other)
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\n[ "$1" = convert ] && [ -e {other} ] && mv {other} {cloud_image}\n'
    (folder / "qemu-img").write_text(f'{script}exec {shutil.which("qemu-img")} "$@"\n')
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    target, raw = tmp_path / "web1.qcow2", tmp_path / "raw"
    from_cloud_image(cloud_image, target, ACCESS)
    assert not other.exists()
    subprocess.run(["qemu-img", "convert", "-O", "raw", target, raw], check=True, timeout=60)
    assert raw.read_bytes()[: 1 << 20] == b"\x55" * (1 << 20)


def test_a_pipe_is_no_image(tmp_path: Path) -> None:
    """Opening it would wait for somebody who writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="neither a file nor a block device"):
        from_cloud_image(tmp_path / "pipe", tmp_path / "web1.qcow2", ACCESS, timeout=30)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08", r"is packed \(gzip\): unpack it first"),
        (b"\xfd7zXZ\0", r"is packed \(xz\)"),
        (b"\x28\xb5\x2f\xfd", r"is packed \(zstd\)"),
        (b"BZh91AY&SY", r"is packed \(bzip2\)"),
        (b"PK\x03\x04", r"is packed \(zip\)"),
        (b"debian.ovf".ljust(257, b"\0") + b"ustar", r"is packed \(tar, as an OVA is\)"),
        (b"Bochs Virtual HD Image\0", "but bochs"),
        (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "but cloop"),
        (bytes((1 << 20) - 512) + b"koly", "but dmg"),
        (bytes((1 << 20) - 512) + b"conectix".ljust(60, b"\0") + b"\0\0\0\x03", "is damaged"),
    ],
)
def test_what_is_no_image(content: bytes, problem: str, tmp_path: Path) -> None:
    """It would become a disk without a system, if it was taken for a raw one."""
    source = tmp_path / "cloud"
    source.write_bytes(content.ljust(1 << 20, b"\0") if content else b"")
    with pytest.raises(ImageError, match=problem):
        from_cloud_image(source, tmp_path / "web1.qcow2", ACCESS)


def test_the_format_before_qcow2(tmp_path: Path) -> None:
    made(tmp_path / "cloud", "-f", "qcow")
    with pytest.raises(ImageError, match="but qcow, the version before qcow2"):
        from_cloud_image(tmp_path / "cloud", tmp_path / "web1.qcow2", ACCESS)


def test_a_vpc_that_has_its_parent_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "cloud"
    content = bytearray(made(source, "-f", "vpc"))
    content[60:64] = content[-452:-448] = b"\0\0\0\x04"
    source.write_bytes(content)
    with pytest.raises(ImageError, match="refers to another file"):
        from_cloud_image(source, tmp_path / "web1.qcow2", ACCESS)


def test_a_vpc_of_fixed_size(tmp_path: Path) -> None:
    """It says what it is in its last sector only, which is not of the disk."""
    raw, source, target = tmp_path / "raw", tmp_path / "cloud", tmp_path / "web1.qcow2"
    raw.write_bytes(b"boots".ljust(8 << 20, b"\0"))
    options = ["-O", "vpc", "-o", "subformat=fixed,force_size"]
    subprocess.run(["qemu-img", "convert", *options, raw, source], check=True, timeout=60)
    assert not source.read_bytes().startswith(b"conectix")
    from_cloud_image(source, target, ACCESS)
    subprocess.run(["qemu-img", "convert", "-O", "raw", target, tmp_path / "back"], check=True, timeout=60)
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()
