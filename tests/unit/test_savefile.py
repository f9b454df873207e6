"""The head of a saved domain's file: what xl wrote is read, what is damaged is refused, whatever it is."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen._common import savefile
from pyxen.errors import FileMissing, InvalidArgument, ParseError
from pyxen.operation import Operation

MAGIC = b"Xen saved domain, xl format\n \0 \r"
JSON = '{\n    "c_info": {\n        "name": "web1"\n    }\n}\n'


def head(
    config: bytes = JSON.encode() + b"\0",
    *,
    magic: bytes = MAGIC,
    byteorder: int = 0x01020304,
    mandatory: int = 3,
    optional: int = 0,
) -> bytes:
    """Return a head as xl writes it."""
    data = struct.pack("=I", len(config)) + config
    return magic + struct.pack("=IIII", byteorder, mandatory, optional, len(data)) + data


def read(data: bytes, source: str | None = None) -> tuple[savefile.Head, bytes]:
    """Read a head from a file of these bytes, and what is left behind it."""
    fd = os.memfd_create("saved")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        return savefile.read(fd, source), os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def test_what_xl_writes_is_read_up_to_libxls_stream() -> None:
    assert read(head() + b"stream") == (savefile.Head(JSON), b"stream")


def test_older_files() -> None:
    assert read(head(b"name = 'a'\n", mandatory=2))[0] == savefile.Head("name = 'a'\n", is_json=False)


def test_a_file_without_a_configuration() -> None:
    data = MAGIC + struct.pack("=IIII", 0x01020304, 2, 0, 0) + b"stream"
    assert read(data) == (savefile.Head("", is_json=False), b"stream")


def test_what_is_behind_the_configuration_is_passed_over() -> None:
    data = struct.pack("=I", 2) + b"{}" + b"a newer xl's"
    assert read(MAGIC + struct.pack("=IIII", 0x01020304, 3, 0, len(data)) + data + b"stream") == (
        savefile.Head("{}"),
        b"stream",
    )


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_what_is_written_is_what_xl_writes_and_is_read_back(config: str) -> None:
    fd = os.memfd_create("saved")
    try:
        savefile.write(fd, config)
        os.lseek(fd, 0, os.SEEK_SET)
        assert os.read(fd, 1 << 20) == head(config.encode() + b"\0")
        os.lseek(fd, 0, os.SEEK_SET)
        assert savefile.read(fd) == savefile.Head(config)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends within the header"),
        (b"\x7fELF" + bytes(100), "not a domain"),
        (head()[:60], "ends within the header"),
        (head(byteorder=0x04030201), "byte order"),
        (head(mandatory=7), "newer xl"),
        (head(optional=1), "newer xl"),
        (MAGIC + struct.pack("=IIII", 0x01020304, 3, 0, 2**31), "would have 2147483648 bytes"),
        (MAGIC + struct.pack("=IIIII", 0x01020304, 3, 0, 4, 5), "truncated"),
        (head(b"\xff\xfe\0"), "UTF-8"),
    ],
)
def test_damage(data: bytes, why: str) -> None:
    with pytest.raises(ParseError, match=why) as caught:
        read(data, "web1.save")
    assert caught.value.source == "web1.save"


@given(st.binary(max_size=200))
def test_any_bytes_give_a_head_or_a_parse_error(data: bytes) -> None:
    for whole in (data, MAGIC + data, head()[:48] + data):
        with contextlib.suppress(ParseError):
            read(whole)


def test_the_file_is_not_read_beyond_its_head(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.write_bytes(head() + bytes(100))
    fd = os.open(path, os.O_RDONLY)
    try:
        savefile.read(fd)
        assert os.lseek(fd, 0, os.SEEK_CUR) == len(head())
    finally:
        os.close(fd)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    operation = Operation[None]("restore")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidArgument, match="not a regular file"):
            savefile.opened(operation, str(path))
    with pytest.raises(FileMissing) as missing:
        savefile.opened(operation, str(tmp_path / "nowhere"))
    assert missing.value.filename == str(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidArgument, match="Too many levels"):
        savefile.opened(operation, str(tmp_path / "loop"))


def test_of_an_old_xen() -> None:
    with pytest.raises(ParseError, match=r"Xen 4\.5 or older: restore it with `xl restore`"):
        read(head(mandatory=1))


def test_a_configuration_that_is_longer_than_any_is_not_waited_for() -> None:
    length = 17 << 20
    with pytest.raises(ParseError, match=f"would have {length} bytes"):
        read(MAGIC + struct.pack("=IIII", 0x01020304, 3, 0, length) + bytes(100))
