"""``pyxen image``: the files whose text goes into the guest, and what is said of Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pyxen.cli.images
from pyxen import Progress
from pyxen.cli.status import ExitStatus
from pyxen.images import Access, GuestImage, from_cloud_image
from tests.unit.cli.conftest import Run

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Access]:
    """Who may log in to the images that are made; none is really made."""
    made: list[Access] = []

    def make(_source: str, _target: str, access: Access, **_: Any) -> GuestImage:
        made.append(access)
        return GuestImage(access.hostname, (), (("type", "hvm"),))

    monkeypatch.setattr(pyxen.cli.images, "from_cloud_image", make)
    return made


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"\xef\xbb\xbfsecret\r\n", "secret"),
        ("päss wörd \n".encode(), "päss wörd "),
    ],
)
def test_a_password_file(run: Run, asked: list[Access], tmp_path: Path, content: bytes, password: str) -> None:
    """The end of its line is no part of the password, nor is the mark that editors of other systems begin with."""
    file = tmp_path / "password"
    file.write_bytes(content)
    words = ["image", "cloud", "a", "b", "--hostname", "web1", "--password-file"]
    assert run(*words, str(file)).exit_code == 0
    assert run(*words, "-", input=content).exit_code == 0
    assert [each.password for each in asked] == [password, password]


@pytest.mark.parametrize("option", ["--password-file", "--ssh-key"])
def test_a_file_that_is_not_utf_8(run: Run, asked: list[Access], tmp_path: Path, option: str) -> None:
    """Its text would be another one in the guest."""
    file = tmp_path / "file"
    content = f"{KEY} päss\n".encode("latin-1")
    file.write_bytes(content)
    at = content.index(b"\xe4") + 1
    for name, shown in ((str(file), str(file)), ("-", "<stdin>")):
        result = run("image", "cloud", "a", "b", "--hostname", "web1", option, name, input=content)
        assert result.exit_code == ExitStatus.USAGE
        assert result.stderr == f"error: {shown}: byte {at} is not UTF-8: convert the file, with iconv -t UTF-8\n"
    assert not asked


def test_a_file_of_keys(run: Run, asked: list[Access], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(f"{KEY} josé@desk\r\n\r\n{KEY}\r\n".encode())
    assert run("image", "cloud", "a", "b", "--hostname", "web1", "--ssh-key", str(file)).exit_code == 0
    assert asked[0].ssh_keys == (f"{KEY} josé@desk", KEY)


def test_a_password_of_which_a_part_would_be_left_out(run: Run, asked: list[Access], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a" * 257)
    result = run("image", "cloud", "a", "b", "--hostname", "web1", "--password-file", str(file))
    assert result.exit_code == ExitStatus.FAILED
    assert "the password has 257 bytes, of which openssl hashes 256" in result.stderr
    assert not asked


def test_ctrl_c_when_all_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of it is so: nothing is left."""

    def interrupt(step: Progress) -> None:
        if step.percent == 100:
            raise KeyboardInterrupt

    def make(*given: Any, **named: Any) -> GuestImage:
        return from_cloud_image(*given, **{**named, "progress": interrupt})

    monkeypatch.setattr(pyxen.cli.images, "from_cloud_image", make)
    source, key = tmp_path / "cloud.img", tmp_path / "key"
    source.write_bytes(b"\x55" * (1 << 20))
    key.write_text(KEY)
    result = run("image", "cloud", str(source), str(tmp_path / "web1"), "--hostname", "web1", "--ssh-key", str(key))
    assert result.exit_code == ExitStatus.INTERRUPTED
    assert "what had been made was removed" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"cloud.img", "key"}
