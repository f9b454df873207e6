"""Build Debian's packages in a Debian of their own for each release, and try them on real Xen: ``make deb``.

``build`` compiles what HEAD has with the tools of that Debian, and runs lintian. ``try`` installs the packages, and the
wheel of ``make release``, in a Debian without compiler and network in the lab's dom0, and uses both.
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from lab import Lab, apt, cache, releases, tools
from lab.errors import BuildFailed, LabError
from lab.progress import say
from tools.release import DIST, ROOT, versions

__all__ = ["build_packages", "revision", "test_packages"]

PACKAGES = DIST / "debian"
_SECONDS = 1800
_CLEAN = [
    "env",
    "-i",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
    "DEBIAN_FRONTEND=noninteractive",
]
_PROFILES = {"bookworm": ("-Ppkg.pyxen.notools",), "trixie": ()}
"""What is left out: Debian 12's typer is too old for the command."""
# There is no bug in Debian that asks for this package, and the maintainers have no public mail address.
_NOT_OURS = ("initial-upload-closes-no-bugs", "bogus-mail-host", "bogus-mail-host-in-debian-changelog")
_LINTIAN = f"lintian --tag-display-limit 0 --fail-on error,warning --suppress-tags {','.join(_NOT_OURS)}"
_TRIAL = ("python3-venv", "python3-apt")
"""What the Debian of a trial has before; the packages bring the rest, from apt's own cache."""


def build_packages(control: str) -> list[str]:
    """Return the names in the Build-Depends of a control file."""
    field = re.findall(r"^Build-Depends:\n((?: .*\n)+)", control, re.MULTILINE)[0]
    return [re.split(r"[ (\[<]", line.strip())[0] for line in field.strip(",\n ").split(",\n")]


def test_packages(control: str) -> list[str]:
    """Return what the autopkgtests need besides pyxen's own packages."""
    named = {name.strip() for line in re.findall(r"^Depends: (.*)$", control, re.MULTILINE) for name in line.split(",")}
    return sorted(name for name in named if "pyxen" not in name)


def revision(version: str, suite: str) -> str:
    """Return the version of the package for a Debian: an older one's is the lesser, so that an upgrade replaces it."""
    return f"{version}-1" if suite == releases.RELEASES[0].suite else f"{version}-1~{suite}1"


def _root(release: releases.Release, name: str, packages: list[str]) -> Path:
    """Return a Debian with these packages installed, from the cache or newly made."""

    def make(work: Path) -> None:
        tools.require(tools.BUILD_TOOLS)
        say(f"Debian {release.suite}: installing what {name} needs (some minutes)")
        options = ("APT::Install-Recommends false", "Acquire::Check-Valid-Until false", "Acquire::Retries 3")
        include = [*packages, "ca-certificates", "debian-archive-keyring"]
        argv = ["mmdebstrap", "--mode=root", "--variant=apt", "--architectures=amd64", f"--include={','.join(include)}"]
        argv += [*(f"--aptopt={option}" for option in options), "--dpkgopt=path-exclude=/usr/share/locale/*"]
        argv += [release.suite, str(work / "root"), *apt.sources(release.suite)]
        tools.call(tools.as_root(argv, seconds=_SECONDS), what=f"installing Debian {release.suite}", seconds=_SECONDS)

    return cache.made(cache.root() / release.xen / name, cache.key_of([release.suite, *packages]), make) / "root"


def _enter(root: Path, script: str, *arguments: str) -> str:
    """Run a script in a Debian, as root."""
    argv = ["chroot", str(root), *_CLEAN, "sh", "-euc", script, "sh", *arguments]
    return tools.call(tools.as_root(argv, seconds=_SECONDS), what="building the packages", seconds=_SECONDS)


def _sources(version: str, suite: str, into: Path) -> Path:
    """Unpack HEAD as dpkg-source wants it: the original archive, and beside it the tree with debian/."""
    tree = into / f"pyxen-{version}"
    archive = ["git", "archive", f"--prefix={tree.name}/", "HEAD", "--"]
    original = subprocess.run(
        [*archive, ".", ":!debian", ":!.ci", ":!.github"], cwd=ROOT, check=True, capture_output=True, timeout=60
    )
    (into / f"pyxen_{version}.orig.tar.gz").write_bytes(gzip.compress(original.stdout, mtime=0))
    debian = subprocess.run([*archive, "debian"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    for data in (original.stdout, debian.stdout):
        subprocess.run(["tar", "-x", "-C", into], input=data, check=True, timeout=60)
    changes = tree / "debian" / "changelog"
    first, rest = changes.read_text().split("\n", 1)
    changes.write_text(first.replace(f"({version}-1)", f"({revision(version, suite)})") + "\n" + rest)
    return tree


def _build(release: releases.Release) -> None:
    version = versions()["pyproject.toml"]
    needs = ["build-essential", "lintian", *build_packages((ROOT / "debian/control").read_text())]
    root = _root(release, "packaging", needs)
    with tempfile.TemporaryDirectory(prefix="pyxen-deb-") as scratch:
        folder = Path(scratch)
        tree = _sources(version, release.suite, folder)
        inside = f"/srv/{folder.name}"
        try:
            tools.call(tools.as_root(["cp", "-r", str(folder), f"{root}{inside}"]), what="copying the sources")
            say(f"Debian {release.suite}: building the packages (about a minute)")
            _enter(
                root,
                'cd "$1"; shift; dpkg-buildpackage -us -uc "$@" 2>&1',
                f"{inside}/{tree.name}",
                *_PROFILES[release.suite],
            )
            out = PACKAGES / release.suite
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            for path in Path(f"{root}{inside}").iterdir():
                if path.is_file():
                    shutil.copy(path, out)
            say(f"Debian {release.suite}: running lintian")
            print(_enter(root, f'cd "$1"; lintian --version; {_LINTIAN} *.changes 2>&1', inside))
        finally:
            tools.call(tools.as_root(["rm", "-rf", f"{root}{inside}"]), what="removing a work folder")
    for path in sorted(out.iterdir()):
        print(path)


_IN_DOM0 = """
set -eu
mkfs.ext4 -q /dev/vdc
mkdir -p /srv/debian
mount /dev/vdc /srv/debian
tar -xf /srv/debian.tar -C /srv/debian
rm /srv/debian.tar
cp -r /usr/share/pyxen-guests /srv/debian/usr/share/
for place in proc sys dev run; do
    mkdir -p /srv/debian/$place
    mount --rbind /$place /srv/debian/$place
done
mkdir -p /srv/debian/var/lib/xen /srv/debian/var/log/xen /srv/debian/var/run
exec chroot /srv/debian env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root sh /srv/try.sh
"""

_TRY = """
set -eu
! command -v gcc
export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends /srv/packages/*.deb $TESTS
dpkg -l '*pyxen*' | grep ^ii
cat > /tmp/use.py <<'END'
import pyxen
from pyxen import DomainConfig
with pyxen.connect() as xen:
    print(pyxen.__file__, xen.uri, xen.info().xen_version)
    config = DomainConfig("tried", type="pv", kernel="/usr/share/pyxen-guests/tiny-pv", memory=16)
    domain = xen.create(config, timeout=120)
    assert "tried" in [info.name for info in xen.list()]
    domain.destroy()
    assert "tried" not in [info.name for info in xen.list()]
END
echo "== the packages"
cd /
python3 /tmp/use.py
command -v pyxen && pyxen list
echo "== the autopkgtests"
cd /srv/source
for test in debian/tests/*; do
    case $test in
        */control) continue;;
        */command) command -v pyxen || continue;;
    esac
    echo "= $test"
    AUTOPKGTEST_TMP=$(mktemp -d) $test
done
cd /
ls /usr/share/bash-completion/completions/pyxen /usr/lib/systemd/system/pyxen-* /lib/systemd/system/pyxen-* \
    /usr/share/man/man1/pyxen* /usr/share/doc/python3-pyxen/howto 2>/dev/null || true
apt-get remove -q -y --purge '*pyxen*' >/dev/null
! python3 -c 'import pyxen' 2>/dev/null
echo "== the wheel"
python3 -m venv /srv/venv
/srv/venv/bin/pip install -q --no-index --find-links /srv/wheels 'pyxen[cli]'
/srv/venv/bin/pip list 2>/dev/null | grep -i pyxen
/srv/venv/bin/python /tmp/use.py
/srv/venv/bin/pyxen list
echo "== all well"
"""


def _wheels(release: releases.Release, into: Path) -> None:
    """Collect the wheel with the extension, and what it needs, for the Python of a Debian."""
    wheels = [*DIST.glob("*abi3*.whl")]
    if len(wheels) != 1:
        raise BuildFailed(f"{len(wheels)} wheels with the extension are in {DIST}: make release, then make deb")
    (wheel,) = wheels
    into.mkdir()
    shutil.copy(wheel, into)
    for_it = ["--only-binary", ":all:", "--python-version", release.python, "--dest", str(into)]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    tools.call([*pip, *for_it, f"{wheel}[cli]"], what="downloading what the wheel needs")


def _pack(release: releases.Release, scratch: Path) -> Path:
    """Pack a Debian with all that a trial installs; nothing of it is installed yet."""
    packages = [*sorted((PACKAGES / release.suite).glob("*pyxen*_all.deb"))]
    packages += sorted((PACKAGES / release.suite).glob("python3-pyxen_*.deb"))
    if not packages:
        raise BuildFailed(f"there are no packages in {PACKAGES / release.suite}: python3 -m tools.debian build")
    root = scratch / "root"
    base = _root(release, "trial", list(_TRIAL))
    tools.call(tools.as_root(["cp", "-a", str(base), str(root)]), what="copying a Debian")
    (root / "srv/packages").mkdir()
    for package in packages:
        shutil.copy(package, root / "srv/packages")
    _wheels(release, root / "srv/wheels")
    (root / "srv/source").mkdir()
    source = ["git", "archive", "HEAD", "--", "debian/tests", "docs", "pyproject.toml", "tests", "tools"]
    archived = subprocess.run(source, cwd=ROOT, check=True, capture_output=True, timeout=60)
    subprocess.run(["tar", "-x", "-C", root / "srv/source"], input=archived.stdout, check=True, timeout=60)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    needs = test_packages((ROOT / "debian/tests/control").read_text())
    needs += [name for name in release.also if name.startswith("python3-")]
    fetch = "apt-get update -q; apt-get install -q -y --no-install-recommends --download-only /srv/packages/*.deb $@"
    _enter(root, fetch, *needs)
    (root / "srv/try.sh").write_text(f"TESTS='{' '.join(needs)}'\n{_TRY}")
    archive = scratch / "debian.tar"
    tools.call(tools.as_root(["tar", "-cf", str(archive), "-C", str(root), "."]), what="packing a Debian")
    return archive


def _try(release: releases.Release) -> int:
    with tempfile.TemporaryDirectory(prefix="pyxen-try-") as scratch:
        archive = _pack(release, Path(scratch))
        with Lab(release.xen) as dom0:
            dom0.put(str(archive), "/srv/debian.tar")
            return dom0.run(["sh", "-c", _IN_DOM0], timeout=_SECONDS, on_stdout=_show, on_stderr=_show).status


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _leave(number: int, _frame: object) -> NoReturn:
    """End through every ``finally``, so that QEMU and work folders go too."""
    raise SystemExit(128 + number)


def main() -> int:
    """Build or try the packages; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("build", "try"))
    known = [release.xen for release in releases.RELEASES]
    parser.add_argument("--xen", choices=known, help="only the Debian that has this release of Xen; by default all")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        for release in releases.RELEASES:
            if arguments.xen not in {None, release.xen}:
                continue
            if arguments.verb == "build":
                _build(release)
            elif (status := _try(release)) != 0:
                return status
    except LabError as error:
        print(f"debian: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
