"""A root file system with a compiler beside each image: C is compiled there, at native speed, for dom0."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import apt, cache, checkout, tools
from lab.cache import HERE, REPOSITORY
from lab.errors import BuildFailed
from lab.progress import say

if TYPE_CHECKING:
    from typing import Self

    from lab.releases import Release

_GENERATOR = REPOSITORY / "cffi_build" / "xenlight.py"


# The build root has no /proc, where Go would look for itself, and what it compiles of its own library stays there.
_GO_ENVIRONMENT = ("-u", "HOME", "GOROOT=/usr/lib/go", "GOCACHE=/var/cache/go", "GOPATH=/var/cache/gopath")
# Nothing comes from elsewhere, neither modules nor another compiler.
_GO_OFFLINE = ("GOPROXY=off", "GOTOOLCHAIN=local", "GOFLAGS=-mod=mod")


def _root_key(release: Release, *more: str) -> str:
    return cache.key_of([release.suite, *release.build_packages, *more], [HERE / "apt.py", HERE / "buildroot.py"])


def ensure(release: Release) -> Path:
    """The build root of a release (a folder to chroot into); unpacked if it is not in the cache.

    Raises:
        LabError: A tool is missing, we cannot become root, or unpacking failed.
    """
    return _unpacked(release, "buildroot", "a compiler (about 40 s)")


def _unpacked(release: Release, kind: str, what: str, *more: str) -> Path:
    """A build root with more packages."""

    def make(work: Path) -> None:
        tools.require(tools.BUILD_TOOLS)
        say(f"Xen {release.xen}: unpacking Debian {release.suite} with {what}")
        apt.unpack(release.suite, [*release.build_packages, *more], work / "root", work / "mmdebstrap.log")
        tools.call(tools.as_root(["ln", "-sf", "dash", str(work / "root/usr/bin/sh")]), what="finishing the build root")

    return cache.made(cache.root() / release.xen / kind, _root_key(release, *more), make) / "root"


def extension(release: Release) -> Path | None:
    """The folder with pyxen's compiled extension for a release; compiled if it is not in the cache.

    Returns:
        A folder with one ``.so`` file and the worker's program; None while the repository has no
        ``cffi_build/xenlight.py``.

    Raises:
        LabError: It does not compile; the message has the end of the compiler's output.
    """
    if not _GENERATOR.exists():
        return None
    sources = [path for path in _GENERATOR.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    setup = REPOSITORY / "setup.py"
    key = cache.key_of([_root_key(release)], [*sources, *([setup] if setup.exists() else [])])

    def make(work: Path) -> None:
        root = ensure(release)
        say(f"Xen {release.xen}: compiling the extension (about 20 s)")
        with _Workplace(root) as place:
            for path in sources:
                place.add(path, str(path.relative_to(REPOSITORY)))
            place.run(["python3", "cffi_build/xenlight.py", "--output", "out"], what="compiling the extension")
            place.fetch("out", work)
        if not list(work.glob("*.so")) or not list(work.glob("pyxen-worker-*")):
            raise BuildFailed(
                "cffi_build/xenlight.py ended well, but left no extension or no worker in its --output folder"
            )

    return cache.made(cache.root() / release.xen / "extension", key, make)


def bytecode(release: Release) -> Path:
    """A folder laid out as the repository with ``src`` and its compiled files: dom0 would take seconds to make them.

    Raises:
        LabError: The build root cannot be made.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # The checkout is being worked on: the key is that of what is compiled, however long the build has to wait.
        return _compiled(release, _copied(REPOSITORY / "src", Path(scratch)))


def _copied(folder: Path, scratch: Path) -> dict[str, Path]:
    """Copy the Python files of a folder of the repository; return the copies by their names in the repository."""
    copies = {}
    for path in sorted(path for path in folder.rglob("*.py") if path.is_file()):
        name = str(path.relative_to(REPOSITORY))
        copies[name] = scratch / name
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copies[name])
    return copies


def _compiled(release: Release, sources: dict[str, Path]) -> Path:
    key = cache.key_of([_root_key(release), *sources], sources.values())

    def make(work: Path) -> None:
        with _Workplace(ensure(release)) as place:
            for name, path in sources.items():
                place.add(path, f"out/{name}")
            # Python does not check the sources: those beside the bytecode are the ones it was made from. The check
            # would take a twentieth of a connect.
            compile_all = ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
            # A file that does not compile says so to whoever imports it; the others are compiled all the same.
            tolerant = ["sh", "-c", '"$@" || :', "sh"]
            place.run([*tolerant, *compile_all, "-s", "out", "-p", checkout.IN_DOM0, "out"], what="compiling src")
            place.fetch("out", work)

    return cache.made(cache.root() / release.xen / "bytecode", key, make)


def compile_c(release: Release, source: Path, out: Path, flags: list[str]) -> None:
    """Compile a C program for dom0.

    Args:
        release: Whose headers and libraries to use.
        source: The C file.
        out: The program to write, on this machine.
        flags: Further arguments for gcc, as in ``-lxenlight``.

    Raises:
        LabError: It does not compile; the message has the compiler's output.
    """
    with _Workplace(ensure(release)) as place, tempfile.TemporaryDirectory() as scratch:
        place.add(source, source.name)
        place.run(["gcc", "-O2", "-Wall", "-o", "out/program", source.name, *flags], what=f"compiling {source.name}")
        place.fetch("out", Path(scratch))
        shutil.copy(Path(scratch) / "program", out)


def compile_go(release: Release, source: Path, out: Path, modules: dict[str, Path]) -> None:
    """Compile a Go program for dom0, with cgo. Go's compiler has a build root of its own; nothing else is fetched.

    Args:
        release: Whose compiler, headers and libraries to use.
        source: The Go file.
        out: The program to write, on this machine.
        modules: The modules that it imports: the folder of each, by the path of its import.

    Raises:
        LabError: It does not compile; the message has the compiler's output.
    """
    root = _unpacked(release, "buildroot-go", "Go's compiler (about 90 s)", "golang-go")
    with _Workplace(root) as place, tempfile.TemporaryDirectory() as scratch:
        place.add(source, source.name)
        lines = ["module program", "go 1.11"]
        for number, (name, folder) in enumerate(modules.items()):
            lines += [f"require {name} v0.0.0", f"replace {name} => ./modules/{number}"]
            for path in folder.iterdir():
                place.add(path, f"modules/{number}/{path.name}")
        module = Path(scratch, "go.mod")
        module.write_text("\n".join(lines) + "\n", encoding="utf-8")
        place.add(module, module.name)
        build = ["go", "build", "-o", "out/program", source.name]
        place.run(["env", *_GO_ENVIRONMENT, *_GO_OFFLINE, *build], what=f"compiling {source.name}")
        place.fetch("out", Path(scratch))
        shutil.copy(Path(scratch) / "program", out)


class _Workplace:
    """A folder inside a build root, of which each compilation has its own; root's, and removed afterwards."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staged = Path(tempfile.mkdtemp(prefix="pyxen-lab-"))
        self._inside = f"/srv/{self._staged.name}"

    def __enter__(self) -> Self:
        (self._staged / "out").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._staged)
        tools.call(tools.as_root(["rm", "-rf", f"{self._root}{self._inside}"]), what="removing a work folder")

    def add(self, path: Path, name: str) -> None:
        """Put a file into the folder, before anything runs there."""
        (self._staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, self._staged / name)

    def run(self, argv: list[str], *, what: str) -> None:
        """Run a program in the folder, inside the root."""
        inside = f"{self._root}{self._inside}"
        tools.call(tools.as_root(["mkdir", "-p", f"{self._root}/srv"]), what="making a work folder")
        tools.call(
            tools.as_root(["cp", "-r", "--no-preserve=ownership", f"{self._staged}/.", inside]),
            what="filling a work folder",
        )
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin", "LANG=C.UTF-8", "HOME=/root", "CC=gcc"]
        script = 'cd "$1" && shift && exec "$@"'
        tools.call(
            tools.as_root(["chroot", str(self._root), *environment, "sh", "-c", script, "sh", self._inside, *argv]),
            what=what,
        )

    def fetch(self, name: str, destination: Path) -> None:
        """Copy a subfolder's content out."""
        shutil.copytree(f"{self._root}{self._inside}/{name}", destination, dirs_exist_ok=True)
