"""Images that need no packages: what is refused, cloud images by the real qemu-img, and CDs as isoinfo reads them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import Disk, FileMissing, ImageError, InvalidArgument, OperationTimeout, Progress, ToolMissing, VolumeExists
from pyxen.images import (
    Access,
    GuestImage,
    from_cloud_image,
    from_distribution,
)
from pyxen.images.programs import run
from tests.waiting import until

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFy me@desk"
ACCESS = Access("web1", ssh_keys=[KEY])


def described(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def on_cd(cd: Path, name: str) -> str:
    """Return a file of a CD, by its name with the extension of Joliet."""
    command = ["isoinfo", "-J", "-x", f"/{name}", "-i", str(cd)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"hostname": "web_1"}, "'web_1' is not a valid hostname"),
        ({"hostname": "a" * 65}, "is not a valid hostname"),
        ({"hostname": "web1\nroot"}, "is not a valid hostname"),
        ({"ssh_keys": ["/root/.ssh/id.pub"]}, "'/root/.ssh/id.pub' is not a public key of ssh"),
        ({"ssh_keys": [f"{KEY}\nssh-rsa AAAA"]}, "is not a public key of ssh"),
        ({"ssh_keys": KEY}, "ssh_keys takes a list of texts"),
        ({"ssh_keys": ()}, "nobody could log in"),
        ({"password": ""}, "at least one character"),
        ({"password": "a\nb"}, "no line feed"),
        ({"password": "secret\r"}, "no line feed or carriage return"),
        ({"password": "a" * 257}, "the password has 257 bytes, of which openssl hashes 256"),
        ({"password": "ä" * 129}, "the password has 258 bytes"),
        ({"address": "192.0.2.7"}, "needs the length of its prefix"),
        ({"address": "192.0.2.700/24"}, "192.0.2.700"),
        ({"address": "192.0.2.7/24", "gateway": "router"}, "'router'"),
        ({"gateway": "192.0.2.1"}, "go with an address"),
    ],
)
def test_what_is_not_valid(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        Access(**{"hostname": "web1", "ssh_keys": [KEY], **values})


def test_a_password_is_not_shown_and_is_hashed() -> None:
    access = Access("web1", password="secret")  # noqa: S106 (of no guest)
    assert "secret" not in repr(access)
    hashed = access.password_hash()
    assert hashed is not None
    assert hashed.startswith("$6$")
    salt = hashed.split("$")[2]
    assert run(["openssl", "passwd", "-6", "-salt", salt, "secret"], package="openssl") == [hashed]
    assert Access("web1", password=hashed).password_hash() == hashed
    assert ACCESS.password_hash() is None


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_the_longest_password(letter: str) -> None:
    """It is hashed whole: the last letter counts."""
    password = letter * (256 // len(letter.encode()))
    hashed = Access("web1", password=password).password_hash()
    assert hashed is not None
    salt = hashed.split("$")[2]
    for given, same in ((password, True), (f"{password[:-1]}b", False)):
        again = run(["openssl", "passwd", "-6", "-salt", salt, "-stdin"], package="openssl", text=given)
        assert (again == [hashed]) is same


def test_a_hash_is_longer_than_passwords() -> None:
    hashed = f"$6$salt${'h' * 300}"
    assert Access("web1", password=hashed).password_hash() == hashed


def test_a_cloud_image(cloud_image: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    target = tmp_path / "web1.qcow2"
    access = Access(
        "web1",
        ssh_keys=[KEY],
        password="$6$salt$hash",  # noqa: S106 (of no guest)
        address="192.0.2.7/24",
        gateway="192.0.2.1",
        nameservers=["192.0.2.53"],
    )
    image = from_cloud_image(cloud_image, target, access, size=128, progress=steps.append)
    cd = tmp_path / "web1-seed.iso"
    assert image.disks == (
        Disk(target, vdev="hda", format="qcow2"),
        Disk(cd, vdev="hdc", cdrom=True),
    )
    image.config(memory=256).validate()
    assert steps == [("CD", 0), ("disk", 5), ("disk", 100)]
    found = described(target)
    assert (found["format"], found["virtual-size"], "backing-filename" in found) == ("qcow2", 128 << 20, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cloud.qcow2", "web1-seed.iso", "web1.qcow2"]

    listed = subprocess.run(["isoinfo", "-d", "-i", str(cd)], check=True, capture_output=True, text=True, timeout=60)
    assert "Volume id: CIDATA" in listed.stdout
    meta = json.loads(on_cd(cd, "meta-data"))
    assert meta["local-hostname"] == "web1"
    first, _, user = on_cd(cd, "user-data").partition("\n")
    assert first == "#cloud-config"
    assert json.loads(user) == {
        "hostname": "web1",
        "ssh_authorized_keys": [KEY],
        "password": "$6$salt$hash",
        "chpasswd": {"expire": False},
        "ssh_pwauth": True,
    }
    assert json.loads(on_cd(cd, "network-config"))["ethernets"]["first"] == {
        "match": {"name": "e*"},
        "addresses": ["192.0.2.7/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1"}],
        "nameservers": {"addresses": ["192.0.2.53"]},
    }

    with pytest.raises(VolumeExists, match=r"web1.qcow2 exists"):
        from_cloud_image(cloud_image, target, access)
    again = from_cloud_image(cloud_image, target, ACCESS, overwrite=True)
    assert described(target)["virtual-size"] == 64 << 20
    assert json.loads(on_cd(cd, "meta-data"))["instance-id"] != meta["instance-id"]
    assert again.hostname == "web1"


def test_a_cloud_image_that_cannot_be_used(cloud_image: Path, tmp_path: Path) -> None:
    target, text = tmp_path / "web1.qcow2", tmp_path / "text"
    text.write_text("not an image\n")
    backed = tmp_path / "backed.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(text), "-F", "raw", str(backed)]
    subprocess.run(create, check=True, timeout=60)
    before = sorted(tmp_path.iterdir())
    attempts: list[tuple[type[Exception], str, Callable[[], GuestImage]]] = [
        (FileMissing, "there is no image", lambda: from_cloud_image(tmp_path / "none", target, ACCESS)),
        (ImageError, "refers to another file", lambda: from_cloud_image(backed, target, ACCESS)),
        (InvalidArgument, "needs 64 MiB", lambda: from_cloud_image(cloud_image, target, ACCESS, size=32)),
        (InvalidArgument, "neither a file nor", lambda: from_cloud_image(cloud_image, tmp_path, ACCESS)),
        (InvalidArgument, "No such file", lambda: from_cloud_image(cloud_image, tmp_path / "no" / "a", ACCESS)),
        (VolumeExists, "text exists", lambda: from_cloud_image(cloud_image, target, ACCESS, seed=text)),
        (InvalidArgument, "of its own", lambda: from_cloud_image(cloud_image, target, ACCESS, seed=target)),
        (OperationTimeout, "has not ended after 0 s", lambda: from_cloud_image(cloud_image, target, ACCESS, timeout=0)),
    ]
    for kind, problem, attempt in attempts:
        with pytest.raises(kind, match=problem):
            attempt()
        assert sorted(tmp_path.iterdir()) == before


def test_progress_that_would_not_run(cloud_image: Path, tmp_path: Path) -> None:
    async def never(_: Progress) -> None:
        raise AssertionError

    target = tmp_path / "web1.qcow2"
    with pytest.raises(InvalidArgument, match="a plain function as progress"):
        from_cloud_image(cloud_image, target, ACCESS, progress=never)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidArgument, match="a plain function as progress"):
        from_distribution(target, ACCESS, progress=never)  # type: ignore[arg-type]  # on purpose
    assert not target.exists()


def test_progress_that_raises_in_the_end(cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody learns that there is an image, and so there is none. An older one stays."""

    def tell(step: Progress) -> None:
        if step.percent == 100:
            raise KeyboardInterrupt

    target, older = tmp_path / "web1.qcow2", tmp_path / "older.qcow2"
    older.write_text("kept")
    before = sorted(tmp_path.iterdir())
    for path in (target, older):
        with pytest.raises(KeyboardInterrupt):
            from_cloud_image(cloud_image, path, ACCESS, overwrite=path == older, progress=tell)
        assert sorted(tmp_path.iterdir()) == before
    assert older.read_text() == "kept"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pyxen.images.distribution.program", lambda name, **_: name)
    for name in ("run", "_settle"):
        monkeypatch.setattr(f"pyxen.images.distribution.{name}", lambda *_, **__: [])
    with pytest.raises(KeyboardInterrupt):
        from_distribution(target, ACCESS, progress=tell)
    assert sorted(tmp_path.iterdir()) == before


def test_a_program_that_is_missing(cloud_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pyxen._common.programs._SBIN", ())
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(ToolMissing, match=r"qemu-img is not installed: on Debian, apt install qemu-utils"):
        from_cloud_image(cloud_image, tmp_path / "web1.qcow2", ACCESS)
    with pytest.raises(ToolMissing, match="apt install mmdebstrap"):
        from_distribution(tmp_path / "web1.img", ACCESS)


def test_a_program_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    """When its time is up. The child would live on."""
    script = f"(sleep 600; touch {tmp_path}/late) & echo begun; wait"

    def tell(line: str) -> None:
        assert line == "begun"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", script], package="dash", on_line=tell)

    def ended() -> bool:
        listed = subprocess.run(
            ["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        return str(tmp_path) not in listed

    until(ended, "the child ends, which nobody waits for")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"suite": "--help"}, "'--help' is not a valid suite"),
        ({"packages": ["a,b"]}, "'a,b' is not a valid suite, package"),
        ({"mirror": ""}, "'' is not a valid suite, package or mirror"),
        ({"suite": "a\nb"}, "is not a valid suite"),
    ],
)
def test_words_that_mmdebstrap_would_take_for_something_else(
    tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        from_distribution(tmp_path / "web1.img", ACCESS, **settings)
    assert not [*tmp_path.iterdir()]
