"""Sets up the oracles in the cache: ``python3 -m tests.oracle.setup`` (idempotent; half a minute the first time).

For each Xen release below: xl, libxlutil and every library they need, as Debian built them, unpacked and run with
their own loader and C library; the preloaded stub and the libxlutil printer, compiled against that release's headers.
Of libvirt: virsh, its schema of domains, the documents of its own tests, and its daemon. Prometheus, with promtool.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.oracle import debian, libvirtd, prometheus, xentools
from tests.oracle.debian import Packages, SetupFailed, cache_folder, cached, run
from tests.oracle.libvirt import documents, schemas

RELEASES = {"4.17": "bookworm", "4.20": "trixie"}
"""The Xen releases, and the Debian release whose packages have each."""

HERE = Path(__file__).parent
RECIPE = ("debian.py", "setup.py", "stub.c", "xlu.c")


@dataclass(frozen=True)
class Oracle:
    """What one release's programs need to run.

    Attributes:
        release: The Xen release.
        folder: Its folder in the cache.
    """

    release: str
    folder: Path

    @property
    def tree(self) -> Path:
        """Where the packages are unpacked."""
        return self.folder / "tree"

    @property
    def stub(self) -> Path:
        """The preloaded library that stands for the host."""
        return self.folder / "stub.so"

    @property
    def xlu(self) -> Path:
        """The program that prints what libxlutil parsed."""
        return self.folder / "xlu"

    @property
    def xl(self) -> Path:
        """The real xl."""
        return self.tree / "usr" / "lib" / f"xen-{self.release}" / "bin" / "xl"

    def command(self, program: Path, *arguments: str) -> list[str]:
        """Return the command line that runs `program` with the release's own loader and libraries."""
        return [str(self._loader()), "--library-path", self._library_path(), "--preload", str(self.stub),
                str(program), *arguments]  # fmt: skip

    def _loader(self) -> Path:
        for place in ("lib64", "usr/lib64", "lib", "usr/lib"):
            for loader in sorted((self.tree / place).glob("ld-linux*.so.*")):
                if not loader.is_symlink() or loader.exists():
                    return loader
        raise SetupFailed(f"no dynamic loader below {self.tree}")

    def library_folders(self) -> list[Path]:
        """Return the folders of the release's shared libraries."""
        libraries = {path.parent for place in ("lib", "usr/lib") for path in (self.tree / place).glob("*/libc.so.6")}
        libraries |= {path.parent for path in (self.tree / "usr/lib").glob("*/libxenlight.so*")}
        return sorted(libraries)

    def _library_path(self) -> str:
        return ":".join(str(folder) for folder in self.library_folders())


def oracle(release: str) -> Oracle:
    """Return the set-up oracle of Xen `release`.

    Raises:
        SetupFailed: It was not set up, or with another recipe; the message names the command.
    """
    return Oracle(release, cached(f"xen-{release}", _recipe()))


def set_up(release: str) -> Oracle:
    """Set up the oracle of Xen `release`, unless that was done."""

    def make(folder: Path) -> None:
        made = Oracle(release, folder)
        _say(f"Xen {release}: packages of Debian {RELEASES[release]}")
        packages = Packages(RELEASES[release], folder / "apt")
        packages.unpack(packages.with_libraries(f"xen-utils-{release}", "libxen-dev"), made.tree)
        shutil.rmtree(folder / "apt")
        _say(f"Xen {release}: stub and libxlutil printer")
        _compile(made)

    debian.set_up(f"xen-{release}", _recipe(), make)
    return oracle(release)


def _compile(made: Oracle) -> None:
    include = made.tree / "usr" / "include"
    compiler = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    run(*compiler, "-shared", "-fPIC", "-o", made.stub, HERE / "stub.c")
    folders = [f"-L{folder}" for folder in made.library_folders()]
    libraries = ["-lxlutil", "-lxenlight", "-lxentoollog"]
    # The libraries may need a newer C library than the compiler's: the release's own one is there when it runs.
    run(*compiler, "-o", made.xlu, HERE / "xlu.c", *folders[-1:], *libraries, "-Wl,--allow-shlib-undefined")


def _recipe() -> str:
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in RECIPE)).hexdigest()


def _say(text: str) -> None:
    print(f"oracle: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Set up every oracle; return the exit status."""
    try:
        for release in RELEASES:
            set_up(release)
        for release in schemas.RELEASES:
            schemas.set_up(release)
            documents.set_up(release)
        libvirtd.set_up()
        prometheus.set_up()
        xentools.set_up()
    except SetupFailed as error:
        _say(str(error))
        return 1
    _say(f"ready in {cache_folder()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
