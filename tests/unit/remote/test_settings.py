"""The file that says who may connect to a socket, and what they may do."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from pyxen import FileMissing, InvalidArgument, OperationFailed, ParseError
from pyxen.backends.remote.verbs import VERBS
from pyxen.serve import program, settings
from pyxen.serve.policy import ALL, LOOKS
from pyxen.serve.settings import Settings, load_settings

OWN_GROUP = grp.getgrgid(os.getegid())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "serve.toml"


@pytest.mark.parametrize(
    ("text", "verbs", "passwords"),
    [
        ('verbs = "all"', set(VERBS), True),
        ('verbs = "all"\npasswords = false', set(VERBS), False),
        ('verbs = "read-only"', LOOKS, False),
        ('verbs = ["list", "start"]', {"list", "start"}, False),
        ('verbs = ["read-only", "start", "shutdown"]\npasswords = true', LOOKS | {"start", "shutdown"}, True),
    ],
)
def test_what_it_says(file: Path, text: str, verbs: set[str], passwords: bool) -> None:
    file.write_text(f'group = "{OWN_GROUP.gr_name}"\n{text}\n')
    found = load_settings(str(file))
    assert (found.group, found.gid, found.source) == (OWN_GROUP.gr_name, OWN_GROUP.gr_gid, str(file))
    assert found.policy.verbs == verbs
    assert found.policy.passwords is passwords
    assert found.policy.source == str(file)


def test_read_only_narrows_it(file: Path) -> None:
    """It gives nothing that the file does not give."""
    file.write_text('verbs = ["list", "pause"]\npasswords = true\n')
    narrow = load_settings(str(file)).only_looking()
    assert narrow.policy.verbs == {"list"}
    assert (narrow.policy.passwords, narrow.policy.source) == (False, str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('group = "g"', "it does not say verbs"),
        ('verbs = "all"\ngrup = "g"', "'grup' is not a key here; the keys are group, verbs, passwords"),
        ('[verbs]\nlist = "all"', "verbs is"),
        ('verbs = "some"', "verbs is"),
        ("verbs = []", "verbs is"),
        ('verbs = ["lst"]', "'lst' is not a verb; there is list"),
        ("verbs = [1]", "int is not a verb"),
        ("verbs = " + "[" * 5000, "nested too deep"),
        pytest.param("verbs = " + "1" * 5000, "too many digits", id="digits"),
        ('verbs = ["all"]', "'all' is not a verb"),
        ('verbs = "all"\npasswords = "no"', "passwords is true or false"),
        ('verbs = "all"\ngroup = 5', "group is the name of a group, not int"),
        ('verbs = "all"\ngroup = ""', "group is the name of a group"),
        ('verbs = "all"\ngroup = ["a"]', "group is the name of a group"),
        ('verbs = "all"\ngroup = "no-such-group"', "there is no group 'no-such-group': make it with groupadd"),
        ('verbs = "all"\ngroup = "a\\u0000b"', "there is no group"),
        ("verbs = all", "write lines such as"),
        ("\udcff", "write lines such as"),
        ("#" * (65 << 10), "it has more than 64 KiB"),
    ],
)
def test_what_is_not_valid(file: Path, text: str, words: str) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ParseError, match=words) as caught:
        load_settings(str(file))
    assert caught.value.source == str(file)


def test_there_is_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root may connect then. One that was named must be there."""
    monkeypatch.setattr(settings, "SETTINGS_FILE", str(file))
    assert load_settings() == Settings()
    assert (Settings().gid, Settings().policy) == (None, ALL)
    with pytest.raises(FileMissing, match="there is no file") as caught:
        load_settings(str(file))
    assert caught.value.filename == str(file)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_no_regular_file(file: Path, kind: str) -> None:
    if kind == "folder":
        file.mkdir()
    else:
        os.mkfifo(file)
    with pytest.raises(OperationFailed, match=r"is not a regular file|Is a directory"):
        load_settings(str(file))


@pytest.mark.parametrize("place", ["the file", "its folder", "a folder above", "what a link leads to"])
@pytest.mark.parametrize("loose", [0o646, 0o664])
def test_others_may_write_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, loose: int) -> None:
    """Root refuses it: they could give themselves root's rights."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(settings, "_TRUSTED_USERS", frozenset({0, os.getuid()}))
    monkeypatch.setattr(settings, "_TRUSTED_GROUPS", frozenset[int]())
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    file = folder / "serve.toml"
    file.write_text('verbs = "all"\n')
    named = file
    assert load_settings(str(named)).policy.verbs
    if place == "the file":
        file.chmod(loose)
    elif place == "its folder":
        folder.chmod(loose | 0o111)
    elif place == "a folder above":
        folder.parent.chmod(loose | 0o111)
    else:
        named = tmp_path / "link"
        named.symlink_to(file)
        folder.chmod(loose | 0o111)
    with pytest.raises(InvalidArgument, match=r"others than root can write to .*: chown root:root"):
        load_settings(str(named))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('verbs = ["read-only", "unpause", "qmp", "attach"]', "members of root are as good as root by attach, qmp"),
        ('verbs = "all"', "members of root are as good as root by all verbs"),
        ('verbs = ["read-only", "unpause"]', None),
        ('verbs = "read-only"', None),
    ],
)
def test_the_log_says_who_is_as_good_as_root(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, text: str, words: str | None
) -> None:
    """A list of verbs does not show that."""
    file.write_text(f'group = "root"\n{text}\n')

    def no_socket(*_: object) -> None:
        raise OperationFailed("no socket")

    monkeypatch.setattr(program, "listening_socket", no_socket)
    for read_only in (True, False):
        assert caplog.records == []
        with pytest.raises(OperationFailed, match="no socket"):
            program.serve_many("", str(file), lambda: pytest.fail("nobody connects"), read_only=read_only)
    assert [record.getMessage() for record in caplog.records] == ([f"{file}: {words}"] if words else [])
