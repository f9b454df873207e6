"""One list of Xen releases: what is named elsewhere agrees with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import releases as lab_releases
from pyxen import DeviceModel, DomainConfig, xlcfg
from pyxen.config.releases import DEFAULT, KNOWN, OLDEST, TESTED, newer_than

ROOT = Path(__file__).resolve().parents[2]


def test_the_lab_carries_those_that_are_tested() -> None:
    assert {release.xen for release in lab_releases.RELEASES} == set(TESTED)
    assert lab_releases.DEFAULT == DEFAULT
    assert set(TESTED) <= set(KNOWN)
    assert KNOWN[0] == OLDEST


def test_the_makefile_and_the_readme_name_the_same() -> None:
    assert f"XEN = {DEFAULT}\n" in (ROOT / "Makefile").read_text()
    tested = re.search(r"Xen (4\.\d+) and (4\.\d+), Python", " ".join((ROOT / "README.md").read_text().split()))
    assert tested is not None
    assert tested.groups() == TESTED


@pytest.mark.parametrize("release", KNOWN)
def test_what_was_removed_is_told_for_the_releases_after(release: str) -> None:
    model = DeviceModel(version="qemu_xen_traditional")
    config = DomainConfig("a", type="hvm", memory=64, bios="rombios", device_model=model)
    told = [problem.path for problem in newer_than(config, release)]
    found = [(one.code, one.severity) for one in xlcfg.lint(xlcfg.dumps(config), xen=release)]
    refused = [("removed", "error")] * 2 if release in ("4.21", "4.22") else []
    assert (len(told), found) == (len(refused), refused)


@pytest.mark.parametrize(("release", "codes"), [("4.21", ["ignored-value"]), ("4.22", [])])
def test_pinning_without_vcpus(release: str, codes: list[str]) -> None:
    text = "name='a'\ntype='pv'\nkernel='/k'\nmemory=64\ncpus='2-3'\n"
    assert [one.code for one in xlcfg.lint(text, xen=release)] == codes
    assert xlcfg.lint(text + "vcpus=1\n", xen=release) == []


@pytest.mark.parametrize("text", ["maxmem=512\n", "memory=512\n"])
def test_memory_by_either_key(text: str) -> None:
    assert xlcfg.lint(f"name='a'\ntype='pv'\nkernel='/k'\n{text}") == []


def test_a_repeated_word_is_not_to_be_joined() -> None:
    (found,) = xlcfg.lint("name='a'\ntype='pv'\nkernel='/k'\nmemory=64\non_reboot='destroy'\non_reboot='restart'\n")
    assert (found.code, found.hint) == ("repeated-key", "leave it out")
