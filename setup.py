"""Decides one thing: whether the extension is built here, or comes along. Everything else is in pyproject.toml.

``PYXEN_XENLIGHT=auto`` (the default) builds it where the Xen headers are, ``require`` fails where they are not, and
``skip`` never builds it: configurations, their formats and the libvirt backend need no extension. The path of a folder
takes what is in it, which was compiled before: for each Xen release a module and the program of its workers. So are the
wheels of a release made.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent / "cffi_build"))

import headers
import linking
import program

PACKAGE = "pyxen.backends.xenlight.libxl"
"""Where the compiled modules are looked for when a host is opened."""
WORDS = ("auto", "require", "skip")


def has_headers() -> bool:
    """Tell whether the headers of a Xen release are installed."""
    try:
        return subprocess.run(["pkg-config", "--exists", *linking.PACKAGES], check=False).returncode == 0
    except OSError:
        return False


def modules(folder: Path) -> list[Path]:
    """Return the compiled modules in a folder, with their programs; without any, the build ends with a message."""
    found = sorted(folder.glob("_xenlight_*.abi3.so"))
    if not found:
        sys.exit(f"PYXEN_XENLIGHT={folder}: must be {', '.join(WORDS)}, or a folder with modules _xenlight_*.abi3.so")
    programs = [folder / program.name(".".join(module.name.split(".")[0].split("_")[2:])) for module in found]
    if missing := [path.name for path in programs if not path.is_file()]:
        sys.exit(f"PYXEN_XENLIGHT={folder}: {', '.join(missing)} must be there too: compile each module anew")
    return found + programs


class CheckedBuild(build_ext):
    """Builds the extension and the worker's program, and checks which libraries they were linked to."""

    def build_extension(self, ext: Extension) -> None:
        """Build and check, before anything is copied anywhere."""
        super().build_extension(ext)
        module = Path(self.get_ext_fullpath(ext.name))
        try:
            linking.check(module, headers.xen_release())
            program.build(module.parent)
        except linking.LinkFailed as error:
            sys.exit(str(error))

    def get_output_mapping(self) -> dict[str, str]:
        """Return what is in the package when its sources are used in place, by what was built."""
        mapping: dict[str, str] = super().get_output_mapping()
        name = program.name(headers.xen_release())
        return mapping | {
            str(Path(built).with_name(name)): str(Path(place).with_name(name)) for built, place in mapping.items()
        }

    def get_outputs(self) -> list[str]:
        """Return what is built."""
        return [*self.get_output_mapping()]

    def copy_extensions_to_source(self) -> None:
        """Copy what was built, for an installation that uses the sources in place."""
        for built, place in self.get_output_mapping().items():
            self.copy_file(built, place)


class BuildWithModules(build_py):
    """Adds what was compiled before to the package; for an installation that uses the sources in place, to these."""

    def run(self) -> None:
        """Build, and copy them."""
        super().run()
        name = PACKAGE.split(".")
        folder = Path(self.get_package_dir(PACKAGE)) if self.editable_mode else Path(self.build_lib, *name)
        for path in compiled:
            made = folder / path.name
            if path.resolve() != made.resolve():
                shutil.copy(path, made)
            if made.suffix != ".so":
                made.chmod(0o755)  # a program, which an archive may have brought without its right to run


class WithModules(Distribution):
    """A distribution that is not pure Python, although nothing is compiled here."""

    def has_ext_modules(self) -> bool:
        """Tell so."""
        return True


wanted = os.environ.get("PYXEN_XENLIGHT") or "auto"
compiled = [] if wanted in WORDS else modules(Path(wanted))
if wanted == "require" and not has_headers():
    sys.exit(
        "PYXEN_XENLIGHT=require, but pkg-config does not know Xen's libraries: "
        "install libxen-dev and pkg-config (Debian)"
    )

if compiled:
    limited = {"bdist_wheel": {"py_limited_api": "cp311"}}
    setup(distclass=WithModules, cmdclass={"build_py": BuildWithModules}, options=limited)
elif wanted == "require" or (wanted == "auto" and has_headers()):
    import xenlight

    limited = {"bdist_wheel": {"py_limited_api": "cp311"}} if xenlight.is_limited() else {}
    setup(cffi_modules=["cffi_build/xenlight.py:ffibuilder"], cmdclass={"build_ext": CheckedBuild}, options=limited)
else:
    setup()
