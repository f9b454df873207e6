"""What a pretended host is made of: Debian's packages of a Xen release, the stub, the extension.

The packages are those of the oracles. What is compiled here is kept in the cache, by what it was compiled from. With
``PYXEN_SANITIZE`` in the environment, it is compiled with gcc's sanitizers of addresses and of undefined behaviour.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.oracle.debian import SetupFailed, cache_folder, run
from tests.oracle.setup import RELEASES, set_up
from tools.sanitize import flags, runtime

__all__ = ["RELEASES", "Release", "SetupFailed", "release"]

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
BINDING = REPOSITORY / "cffi_build"


@dataclass(frozen=True)
class Release:
    """A Xen release that hosts can be pretended of.

    Attributes:
        name: As ``4.20``.
        tree: Where its packages are unpacked.
        stub: The library that stands for the hypervisor.
        preload: What is preloaded: the stub, after the sanitizers' runtime where it is compiled with them.
        extension: The folder with pyxen's extension for it.
        python: The interpreter to run pyxen with: by the release's own loader and C library.
    """

    name: str
    tree: Path
    stub: Path
    preload: str
    extension: Path
    python: Path

    def program(self, name: str) -> list[str]:
        """Return the beginning of the command line of one of Xen's own programs."""
        return [*_loader(self.tree), str(self.tree / "usr" / "lib" / f"xen-{self.name}" / "bin" / name)]


@functools.cache
def release(name: str) -> Release:
    """Return what is needed for a Xen release; fetched and compiled where it is not in the cache.

    Raises:
        SetupFailed: That does not work on this machine; the message says why.
    """
    tree = set_up(name).tree
    folder = cache_folder().parent / "offhost" / name
    stub = _made(
        folder / "stub", [tree, *sorted((HERE / "stub").glob("*"))], lambda out: _compile_stub(name, tree, out)
    )
    extension = _made(
        folder / "extension",
        [tree, *(path for path in sorted(BINDING.glob("*")) if path.is_file())],
        lambda out: _compile_extension(tree, out),
    )
    python = _made(folder / "python", [tree, Path(sys.executable)], lambda out: _write_python(tree, out))
    preload = ":".join(map(str, [*runtime(), stub / "stub.so"]))
    return Release(name, tree, stub / "stub.so", preload, extension, python / "python3")


def libraries(tree: Path) -> list[Path]:
    """Return the folders of a release's shared libraries."""
    places = [*tree.glob("usr/lib/*-linux-gnu"), *tree.glob("lib/*-linux-gnu")]
    return [place for place in places if any(place.glob("*.so*"))]


def _loader(tree: Path) -> list[str]:
    for place in libraries(tree):
        for loader in sorted(place.glob("ld-linux*.so.*")):
            return [str(loader), "--library-path", ":".join(map(str, libraries(tree)))]
    raise SetupFailed(f"no dynamic loader below {tree}")


def _made(place: Path, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills, made anew where a source has changed."""
    digest = hashlib.sha256(" ".join(flags()).encode())
    for path in sources:
        digest.update(str(path).encode() + b"\0" + (path.read_bytes() if path.is_file() else b""))
    done = place / digest.hexdigest()[:16]
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=place))
        try:
            make(work)
            work.chmod(0o755)
            try:
                work.rename(done)  # another process may have been faster, with the same outcome
            except OSError:
                if not done.exists():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return done


def _compile_stub(name: str, tree: Path, out: Path) -> None:
    run(
        "gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden",
        *flags(), "-shared", "-fPIC", f"-DXEN_MINOR={name.partition('.')[2]}", f"-I{tree / 'usr' / 'include'}",
        "-o", out / "stub.so", *sorted((HERE / "stub").glob("*.c")), "-ldl", "-lpthread",
    )  # fmt: skip


def _compile_extension(tree: Path, out: Path) -> None:
    """Compile the extension against the release's headers, with this machine's compiler."""
    config = out / "pkgconfig"
    config.mkdir()
    for file in tree.glob("usr/lib/*/pkgconfig/xen*.pc"):
        text = file.read_text().replace("prefix=/usr", f"prefix={tree}/usr")
        (config / file.name).write_text(text)
    [libs] = [place for place in libraries(tree) if (place / "libxenlight.so").is_symlink()]
    environment = {
        **os.environ,
        "PKG_CONFIG_PATH": str(config),
        "CPATH": str(tree / "usr" / "include"),
        # The release's libraries may need a newer C library than the compiler's; the one they run with is theirs.
        "LDFLAGS": f"-L{libs} -Wl,--allow-shlib-undefined",
        "CFLAGS": " ".join([os.environ.get("CFLAGS", ""), *flags()]).strip(),
    }
    run(sys.executable, BINDING / "xenlight.py", "--output", out, env=environment)
    shutil.rmtree(out / "build", ignore_errors=True)
    [program] = out.glob("pyxen-worker-*")
    elf = program.rename(out / f"{program.name}.elf")
    # `out` is renamed when all is there.
    command = ["exec", *_loader(tree), '"$0.elf"']
    program.write_text(f"#!/bin/sh\n# Runs the program by the release's loader.\n{' '.join(command)}\n")
    program.chmod(0o755)
    assert elf.is_file()


def _write_python(tree: Path, out: Path) -> None:
    """Write a program that runs this interpreter by the release's loader: what it preloads is in the environment."""
    own = _own_libraries()
    loader, option, path = _loader(tree)
    script = out / "python3"
    script.write_text(
        "#!/bin/sh\n"
        "# The interpreter's own libraries come last: where the release has them too, its own fit its C library.\n"
        f'exec {loader} {option} {path}:{own} --argv0 "{sys.executable}" "$(readlink -f "{sys.executable}")" "$@"\n'
    )
    script.chmod(0o755)


def _own_libraries() -> str:
    """Return the folders of the libraries that this interpreter is linked with."""
    listing = subprocess.run(
        ["ldd", os.path.realpath(sys.executable)], capture_output=True, text=True, check=True, timeout=60
    )
    files = [line.split("=>")[1].split()[0] for line in listing.stdout.splitlines() if "=> /" in line]
    return ":".join(dict.fromkeys(os.path.dirname(file) for file in files))
