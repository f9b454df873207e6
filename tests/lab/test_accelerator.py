"""What runs the lab's machine is chosen: KVM where it is of use, and emulation everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import BootFailed, Lab, LabError, accelerator, releases, snapshots
from lab.cache import HERE
from lab.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from lab.image import Image

RELEASE = releases.find(releases.DEFAULT)
TRIAL = (HERE / "trial.sh").read_text(encoding="ascii")


@pytest.fixture
def image() -> Image:
    return prepare(RELEASE).image


@pytest.fixture
def computer(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of a computer on which KVM nests, and on which nothing has been tried."""
    assert image.folder.is_dir()  # built before the cache is another
    monkeypatch.delenv(accelerator.VARIABLE, raising=False)
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(accelerator, "NESTING", (tmp_path / "intel", tmp_path / "amd"))
    (tmp_path / "kvm").touch()
    (tmp_path / "amd").write_text("1\n", encoding="ascii")
    monkeypatch.setenv("PYXEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No machine boots on KVM; what was tried."""
    tried: list[str] = []

    def boot(_image: Image, accelerator: str, _cpus: int = 1) -> None:
        tried.append(accelerator)
        raise BootFailed("no hardware virtualisation\nand more")

    monkeypatch.setattr(snapshots, "boot", boot)
    return tried


@pytest.mark.parametrize(("said", "nests"), [("Y\n", True), ("1\n", True), ("N\n", False), ("0\n", False)])
def test_kvm_must_nest(computer: Path, said: str, nests: bool) -> None:
    (computer / "amd").unlink()
    (computer / "intel").write_text(said, encoding="ascii")
    assert (accelerator.obstacle() is None) == nests


@pytest.mark.parametrize(("missing", "why"), [("kvm", "there is no .*/kvm"), ("amd", "does not nest")])
def test_without_such_a_kvm_the_processor_is_emulated(
    computer: Path, image: Image, monkeypatch: pytest.MonkeyPatch, missing: str, why: str
) -> None:
    (computer / missing).unlink()
    assert accelerator.choose(RELEASE, image) == "tcg"
    monkeypatch.setenv(accelerator.VARIABLE, "kvm")
    with pytest.raises(LabError, match=f"asks for KVM, but .*{why}"):
        accelerator.choose(RELEASE, image)


@pytest.mark.usefixtures("computer")
def test_a_kvm_that_is_of_no_use_is_tried_once(
    image: Image, boots: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [accelerator.choose(RELEASE, image) for _ in range(2)] == ["tcg", "tcg"]
    assert boots == ["kvm"]
    assert "so the processor is emulated: no hardware virtualisation (kept in" in capsys.readouterr().err


@pytest.mark.usefixtures("computer")
def test_what_is_asked_for_is_tried_each_time(image: Image, boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(accelerator.VARIABLE, "kvm")
    for _ in range(2):
        with pytest.raises(BootFailed, match="no hardware virtualisation"):
            accelerator.choose(RELEASE, image)
    assert boots == ["kvm", "kvm"]


@pytest.mark.usefixtures("computer")
def test_emulation_can_be_asked_for(image: Image, boots: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(accelerator.VARIABLE, "tcg")
    assert accelerator.choose(RELEASE, image) == "tcg"
    assert boots == []


def test_another_word_is_refused(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(accelerator.VARIABLE, "hvf")
    with pytest.raises(LabError, match="set it to kvm or tcg"):
        accelerator.choose(RELEASE, image)


def test_the_trial_says_which_guest_is_not_created(dom0: Lab) -> None:
    done = dom0.run(["sh", "-c", TRIAL.replace("/usr/share/pyxen-guests", "/nowhere")], timeout=120)
    assert (done.status, done.stdout.splitlines()[-1]) == (1, "a guest of type hvm is not created")


@pytest.mark.long
def test_the_trial_passes_where_guests_come_up(dom0: Lab) -> None:
    assert dom0.run(["sh", "-c", TRIAL], timeout=300, check=True).status == 0
