"""URIs of hosts over ssh, and what ssh says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import ConnectFailed, InvalidArgument, UnsupportedFeature
from pyxen.backends.remote.ssh import address_of

OPTIONS = ("ssh", "-T", "-o", "BatchMode=yes")


@pytest.mark.parametrize(
    ("uri", "command"),
    [
        ("xenlight+ssh://Host1/", (*OPTIONS, "--", "Host1", "pyxen serve --stdio")),
        ("xenlight+ssh://root@host1:2222", (*OPTIONS, "-p", "2222", "--", "root@host1", "pyxen serve --stdio")),
        ("xenlight+ssh://[fe80::1]/", (*OPTIONS, "--", "fe80::1", "pyxen serve --stdio")),
        (
            "xenlight+ssh://host1/?command=/opt/my%20pyxen",
            (*OPTIONS, "--", "host1", "'/opt/my pyxen' serve --stdio"),
        ),
    ],
)
def test_the_command(uri: str, command: tuple[str, ...]) -> None:
    assert address_of(uri).command == command


@pytest.mark.parametrize(
    "uri",
    [
        "xenlight+ssh:///",
        "xenlight+ssh://-oProxyCommand=x/",
        "xenlight+ssh://-l@host1/",
        "xenlight+ssh://host1:port/",
        "xenlight+ssh://host1:99999/",
        "xenlight+ssh://ho st/",
        "xenlight+ssh://root:secret@host1/",
        "xenlight+ssh://host1/?command=-x",
        "xenlight+ssh://host1/?command=a%0Ab",
        "xenlight+ssh://host1/?command=",
        "xenlight+ssh://host1:0/",
        "xenlight+ssh://host1:65536/",
        "xenlight+ssh://host1/?command=a&command=a",
        "xenlight+ssh://ho%0Ast1/",
        "xenlight+ssh://ho%00st1/",
        "xenlight+ssh://%2DoProxyCommand=x/",
        "xenlight+ssh://ro%0Aot@host1/",
        "xenlight+ssh://ro%00ot@host1/",
        "xenlight+ssh://%2Dl@host1/",
        "xenlight+ssh://host1/?command=a%00b",
        "xenlight+ssh://host1/?command=%2Dx",
    ],
)
def test_what_is_not_valid(uri: str) -> None:
    with pytest.raises(InvalidArgument, match=r"xenlight\+ssh://|the command") as caught:
        pyxen.connect(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["xenlight", "xenlight+ssh", "memory", "xen", "test", "nothing"])
@pytest.mark.parametrize("wrong", ["\n", "\r", "\t", "\0", "\x7f", "\udc80"])
def test_a_control_character_in_any_uri(scheme: str, wrong: str) -> None:
    """What reads a URI would leave it out, and lead to another host."""
    with pytest.raises(InvalidArgument, match="no control characters") as caught:
        pyxen.connect(f"{scheme}://us:secret@ho{wrong}st/system")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", [None, 5, b"memory:///"])
def test_no_text(uri: Any) -> None:
    with pytest.raises(InvalidArgument, match="a URI is a text"):
        pyxen.connect(uri)


@pytest.mark.parametrize("uri", ["xenlight+ssh://host1/system", "xenlight+ssh://host1/?keyfile=x"])
def test_another_form(uri: str) -> None:
    with pytest.raises(UnsupportedFeature, match="write it as"):
        pyxen.connect(uri)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'root@host1: Permission denied (publickey).' >&2; exit 255", "no key is accepted.*Permission denied"),
        ("echo 'Host key verification failed.' >&2; exit 255", "not known yet"),
        (
            (
                "printf 'Host key for host1 has changed and you have requested strict checking.\\n"
                "Host key verification failed.\\n' >&2; exit 255"
            ),
            "the key of the host has changed.*ssh-keygen -R",
        ),
        ("echo 'ssh: connect to host host1 port 22: Connection refused' >&2; exit 255", "no ssh server listens"),
        ("echo 'bash: line 1: pyxen: command not found' >&2; exit 127", r"pip install 'pyxen\[cli,remote\]'"),
        ("echo Welcome to host1; sleep 5", "not from pyxen serve: 'Welcome to host1'.*start-up file"),
        ("echo 'error: msgspec is not installed' >&2; exit 1", "msgspec is not installed"),
    ],
)
def test_what_ssh_says(script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConnectFailed, match=f"(?s){words}"):
        pyxen.connect("xenlight+ssh://host1/")


def test_no_ssh_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConnectFailed, match="install the OpenSSH client"):
        pyxen.connect("xenlight+ssh://host1/")


def test_the_command_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that ssh would start, over its own pipes: it ends with the link."""
    import sys

    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m pyxen --uri memory:///demo serve --stdio\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pyxen.connect("xenlight+ssh://host1/") as host:
        assert [info.name for info in host.list()] == ["Domain-0"]


def test_the_command_needs_to_be_told_how() -> None:
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "pyxen", "serve"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "--stdio" in done.stderr
