"""What a release is made of: equal versions, archives that do not depend on the moment, the stable ABI of Python."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import xenlight
from setuptools.command.egg_info import FileList

from lab import releases
from tools import debian, release

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere() -> None:
    assert set(release.versions().values()) == {PROJECT["version"]}


def archive(path: Path, names: list[str], time: float, umask: int) -> Path:
    """Write a source distribution as it comes of one moment and one machine."""
    with tarfile.open(path, "w:gz") as out:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mtime, member.uname = int(time), f"user{time}"
            member.mode = (0o777 if name.endswith("run") else 0o666) & ~umask
            member.size = len(name)
            out.addfile(member, io.BytesIO(name.encode()))
    return path


def test_equal_files_make_an_equal_source_distribution(tmp_path: Path) -> None:
    one = archive(tmp_path / "one.tar.gz", ["p/a", "p/run"], 1e9, 0o022)
    two = archive(tmp_path / "two.tar.gz", ["p/run", "p/a"], 1.5e9, 0o077)
    assert one.read_bytes() != two.read_bytes()
    for each in (one, two):
        release.normalize(each, 1_700_000_000)
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as normal:
        assert [(member.name, member.mode, member.mtime) for member in normal] == [
            ("p/a", 0o644, 1_700_000_000),
            ("p/run", 0o755, 1_700_000_000),
        ]
        program = normal.extractfile("p/run")
        assert program is not None
        assert program.read() == b"p/run"


README = """See [the guide](docs/guide.md) and [Xen](https://xenproject.org), or [below](#install).
![a picture](docs/demo.svg)
```
calls[0](1)
```
[`more`](lab/)
"""


def test_links_of_the_description_lead_to_the_tag() -> None:
    said = release.description(README, "https://example.org/pyxen/", "1.2")
    assert "[the guide](https://example.org/pyxen/blob/v1.2/docs/guide.md)" in said
    assert "![a picture](https://example.org/pyxen/raw/v1.2/docs/demo.svg)" in said
    assert "[`more`](https://example.org/pyxen/blob/v1.2/lab/)" in said
    assert "[Xen](https://xenproject.org), or [below](#install)" in said
    assert "calls[0](1)" in said


def test_without_an_address_the_description_has_no_link_that_leads_nowhere() -> None:
    said = release.description(README, None, "1.2")
    assert said.startswith("See the guide and [Xen](https://xenproject.org), or [below](#install).\n\n```")
    assert said.endswith("```\n`more`\n")
    whole = release.description((ROOT / "README.md").read_text(), None, "1.2")
    assert re.findall(r"\]\((?!https://)(?!#)\S+\)", whole) == []


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((), "a folder with modules _xenlight_*.abi3.so"),
        (("_xenlight_4_17.abi3.so",), "pyxen-worker-4.17 must be there too"),
    ],
    ids=["no module", "no worker"],
)
def test_a_folder_that_lacks_something_is_refused(there: tuple[str, ...], said: str, tmp_path: Path) -> None:
    for name in there:
        (tmp_path / name).touch()
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT, env={**os.environ, "PYXEN_XENLIGHT": str(tmp_path)}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stderr


def test_the_source_distribution_has_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    taken = FileList()
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        taken.process_template_line(line)
    # setuptools takes these by itself, and the packages.
    itself = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"}
    left_out = (".ci/", ".github/", "debian/", "src/pyxen/")
    listed = subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    missing = [name for name in listed if name not in {*taken.files, *itself} and not name.startswith(left_out)]
    assert len(listed) > 500
    assert missing == [], "name them in MANIFEST.in"


def test_what_is_made_in_a_folder_of_sources_is_not_in_the_source_distribution() -> None:
    commands = (ROOT / "MANIFEST.in").read_text().splitlines()
    made = re.findall(r"^/(\w+)(/.+)/$", (ROOT / ".gitignore").read_text(), re.MULTILINE)
    assert len(made) >= 2
    for folder, place in made:
        assert f"graft {folder}" not in commands or f"prune {folder}{place}" in commands


def test_the_stable_abi_is_as_old_as_the_oldest_python() -> None:
    oldest = int(re.findall(r"3\.(\d+)", PROJECT["requires-python"])[0])
    assert (3 << 24) < int(xenlight.PY_LIMITED_API, 16) <= (3 << 24) + (oldest << 16)


def test_the_tested_pythons_are_those_that_are_named() -> None:
    named = {line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert {each.python for each in releases.RELEASES} < named
    assert PROJECT["requires-python"] == ">=" + min(named, key=lambda each: int(each.partition(".")[2]))


def test_what_debian_builds_with() -> None:
    needs = debian.build_packages((ROOT / "debian/control").read_text())
    assert {"debhelper-compat", "libxen-dev", "python3-cffi"} <= set(needs)
    assert all(re.fullmatch(r"[a-z0-9.+-]+", name) for name in needs)


@pytest.mark.parametrize("each", releases.RELEASES, ids=lambda each: each.suite)
def test_the_revision_names_an_older_debian(each: releases.Release) -> None:
    said = debian.revision("1.2", each.suite)
    assert said.startswith("1.2-1")
    assert ("~" in said) == (each is not releases.RELEASES[0])


def test_the_issue_forms_are_yaml_with_questions() -> None:
    forms = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.name for form in forms] == ["config.yml", "fault.yml", "wish.yml"]
    for form in forms[1:]:
        ids = re.findall(r"^    id: (\w+)$", form.read_text(), re.MULTILINE)
        assert len(ids) == len(set(ids)) >= 3


def test_each_of_debians_tests_is_named_and_is_a_script() -> None:
    control = (ROOT / "debian/tests/control").read_text()
    scripts = {path.name: path for path in (ROOT / "debian/tests").iterdir() if path.name != "control"}
    assert set(re.findall(r"^Tests: (.*)$", control, re.MULTILINE)) == set(scripts)
    for script in scripts.values():
        assert os.access(script, os.X_OK)
        subprocess.run(["sh", "-n", script], check=True, timeout=60)
    assert debian.test_packages(control) == ["python3-pytest", "python3-pytest-timeout"]


def test_debians_contract_brings_what_it_imports(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AUTOPKGTEST_TMP": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "--collect-only",
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run(
        [ROOT / "debian/tests/contract"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "test_life.py" in done.stdout
