"""Build all that a release consists of into dist/, twice, and check it: ``make release``. Nothing is uploaded.

What HEAD has is built, not what lies about: the source distribution, the wheel without the extension, and the wheel
with the extension for every release of Xen that Debian has, each compiled in that Debian. libxl and what it needs are
the host's, and are not in the wheel. RELEASING.md says what comes before and after.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
from pathlib import Path

from lab import buildroot, releases

__all__ = ["PLATFORM", "description", "normalize", "versions"]

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
TOOLS = ROOT / "build" / "release"
"""The environment with the tools."""
PLATFORM = "manylinux_2_34_x86_64"
"""The oldest C library that the extension runs with; Debian 12 has 2.36."""
_SECONDS = 1200
"""How long a step may take."""


class ReleaseFailed(Exception):
    """Something of the release is not as it has to be; the message says what."""


def _run(*argv: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    print("+", *argv, flush=True)
    # With PYTHONPATH, pip would take this tree for an installed pyxen, and install nothing.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**clean, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise ReleaseFailed(f"{' '.join(map(str, argv))} ended with status {done.returncode}\n{done.stdout}")
    return done.stdout


def versions(folder: Path = ROOT) -> dict[str, str]:
    """Return where a version stands, and which one that is; they have to be the same."""
    package = (folder / "src/pyxen/__init__.py").read_text()
    debian = (folder / "debian/changelog").read_text()
    return {
        "pyproject.toml": tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"],
        "src/pyxen/__init__.py": re.findall(r'^__version__ = "(.*)"$', package, re.MULTILINE)[0],
        "debian/changelog": re.findall(r"^pyxen \((.*?)-\d+\) ", debian)[0],
    }


def _check_versions() -> str:
    found = versions()
    if len(set(found.values())) != 1:
        raise ReleaseFailed("the versions differ: " + ", ".join(f"{place} has {said}" for place, said in found.items()))
    version = found["pyproject.toml"]
    tags = _run("git", "tag", "--points-at", "HEAD").split()
    changes = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if f"v{version}" in tags and not changes[0].startswith(version):
        raise ReleaseFailed(f"HEAD has the tag v{version}, but CHANGELOG.md begins with {changes[0]!r}")
    return version


def _tools() -> Path:
    """Make the environment with the tools, if it is not there for these requirements, and return its Python."""
    python = TOOLS / "bin" / "python"
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["release"]
    mark = TOOLS / "made-from"
    if not mark.exists() or mark.read_text() != "\n".join(group):
        venv.create(TOOLS, with_pip=True, clear=True)
        _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *group)
        mark.write_text("\n".join(group))
    return python


def normalize(sdist: Path, epoch: int) -> None:
    """Write a source distribution again, so that equal files make an equal archive: order, times, owners, modes."""
    with tarfile.open(sdist) as archive:
        members = [(member, archive.extractfile(member)) for member in archive.getmembers()]
        content = {member.name: data.read() if data else b"" for member, data in members}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, _ in sorted(members, key=lambda each: each[0].name):
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.linkname = member.type, member.linkname
            plain.size, plain.mtime = len(content[member.name]), epoch
            plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            archive.addfile(plain, io.BytesIO(content[member.name]))
    sdist.write_bytes(gzip.compress(out.getvalue(), mtime=epoch))


def description(readme: str, source: str | None, version: str) -> str:
    """Return README as an index shows it, where a link cannot lead into the repository by itself.

    Args:
        readme: README's text.
        source: The repository's address, from ``Source`` of pyproject.toml's ``[project.urls]``. None if it has no
            public address yet: then the words of links stay, and pictures go.
        version: The release, whose tag the links lead to.
    """

    def absolute(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        if source is None:
            return "" if picture else words
        return f"{picture}[{words}]({source.rstrip('/')}/{'raw' if picture else 'blob'}/v{version}/{target})"

    parts = readme.split("```")
    parts[::2] = [re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, part) for part in parts[::2]]
    return "```".join(parts)


def _modules(into: Path) -> Path:
    """Collect the extension, and the program of its workers, for every release of Xen that Debian has."""
    into.mkdir()
    for release in releases.RELEASES:
        folder = buildroot.extension(release)
        if folder is None:
            raise ReleaseFailed("there is no cffi_build/xenlight.py")
        for path in (*folder.glob("*.abi3.so"), *folder.glob("pyxen-worker-*")):
            shutil.copy(path, into)
    found = sorted(path.name for path in into.iterdir())
    wanted = [f"_xenlight_{each.xen.replace('.', '_')}.abi3.so" for each in releases.RELEASES]
    wanted = sorted(wanted + [f"pyxen-worker-{each.xen}" for each in releases.RELEASES])
    if found != wanted:
        raise ReleaseFailed(f"the extension has to be {', '.join(wanted)}; it is {', '.join(found)}")
    return into


def _build(python: Path, epoch: int, out: Path) -> None:
    """Build all archives of HEAD into a folder."""
    path = f"{TOOLS / 'bin'}:{os.environ['PATH']}"
    timed = {"SOURCE_DATE_EPOCH": str(epoch), "PATH": path, "PYTHONHASHSEED": "0"}
    build: list[str | Path] = [python, "-m", "build", "--no-isolation"]
    with tempfile.TemporaryDirectory(prefix="pyxen-release-") as scratch:
        work = Path(scratch)
        tree = work / "tree"
        tree.mkdir()
        _run("git", "archive", "--output", work / "head.tar", "HEAD")
        _run("tar", "-x", "-f", work / "head.tar", "-C", tree)
        project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
        readme = tree / "README.md"
        readme.write_text(description(readme.read_text(), project.get("urls", {}).get("Source"), project["version"]))
        _run(*build, "--sdist", "--outdir", out, cwd=tree, environment=timed | {"PYXEN_XENLIGHT": "skip"})
        (sdist,) = out.glob("*.tar.gz")
        normalize(sdist, epoch)
        # Wheels are made of what the source distribution has: what is missing in it, is missed here.
        for name, xenlight in (("pure", "skip"), ("full", str(_modules(work / "modules")))):
            folder = work / name
            folder.mkdir()
            _run("tar", "-x", "-f", sdist, "-C", folder)
            (source,) = folder.iterdir()
            _run(*build, "--wheel", "--outdir", folder, cwd=source, environment=timed | {"PYXEN_XENLIGHT": xenlight})
        (pure,) = (work / "pure").glob("*.whl")
        shutil.copy(pure, out)
        (full,) = (work / "full").glob("*.whl")
        needs = {name for module in (work / "modules").iterdir() for name in _needed(module)}
        exclude = [
            word for name in sorted(needs) if name.startswith(("libxen", "libxlutil")) for word in ("--exclude", name)
        ]
        repair: list[str | Path] = [python, "-m", "auditwheel", "repair", "--plat", PLATFORM, "--only-plat", *exclude]
        _run(*repair, "--wheel-dir", work / "repaired", full, environment=timed)
        (repaired,) = (work / "repaired").glob("*.whl")
        shutil.copy(repaired, out)


def _needed(module: Path) -> list[str]:
    """Return the libraries that a module is linked to."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", _run("readelf", "-dW", module, environment={"LC_ALL": "C"}))


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _build_twice(python: Path, epoch: int) -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    _build(python, epoch, DIST)
    with tempfile.TemporaryDirectory(prefix="pyxen-again-") as again:
        _build(python, epoch, Path(again))
        first, second = _sums(DIST), _sums(Path(again))
    if first != second:
        unlike = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
        raise ReleaseFailed(f"built twice, it is not the same: {', '.join(unlike)}")


def _check(python: Path) -> None:
    """Check what was built."""
    wheels = sorted(DIST.glob("*.whl"))
    (sdist,) = DIST.glob("*.tar.gz")
    (full,) = (wheel for wheel in wheels if "abi3" in wheel.name)
    print(_run(python, "-m", "twine", "check", "--strict", sdist, *wheels))
    print(_run(TOOLS / "bin" / "check-wheel-contents", *wheels))
    print(_run(python, "-m", "abi3audit", "--strict", "--report", "--summary", full))
    print(_run(TOOLS / "bin" / "check-manifest", "--no-build-isolation", environment={"PYXEN_XENLIGHT": "skip"}))
    print(_run(python, "-m", "reuse", "lint", "--quiet"))


def _bill_of_materials(python: Path, version: str) -> None:
    """Write what an installation of the wheel consists of, as CycloneDX has it."""
    (wheel,) = DIST.glob("*-none-any.whl")
    with tempfile.TemporaryDirectory(prefix="pyxen-sbom-") as scratch:
        venv.create(scratch, with_pip=False)
        site = Path(sysconfig.get_path("purelib", "venv", {"base": scratch, "platbase": scratch}))
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--python",
            Path(scratch, "bin", "python"),
        ]
        _run(*pip, "install", "-q", f"{wheel}[cli,metrics,remote]")
        if not (site / "pyxen").is_dir():
            raise ReleaseFailed(f"pip installed nothing into {site}")
        bill = DIST / f"pyxen-{version}.cdx.json"
        _run(
            python, "-m", "cyclonedx_py", "environment", "--output-reproducible",
            "--pyproject", ROOT / "pyproject.toml",
            "--output-format", "JSON", "--output-file", bill, Path(scratch, "bin", "python"),
        )  # fmt: skip


def main() -> int:
    """Build and check; the exit status says whether all is well."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        version = _check_versions()
        if _run("git", "status", "--porcelain"):
            print("what is not committed is not in the release", flush=True)
        python = _tools()
        _build_twice(python, int(_run("git", "log", "-1", "--format=%ct")))
        _check(python)
        _bill_of_materials(python, version)
        sums = "".join(f"{digest}  {name}\n" for name, digest in _sums(DIST).items())
        (DIST / "SHA256SUMS").write_text(sums)
        print(sums)
    except ReleaseFailed as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"pyxen {version} is in dist/, built twice alike and checked. Nothing was uploaded; see RELEASING.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
