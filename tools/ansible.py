"""Check Ansible's collection with the sanity tests of ansible-test and with ansible-lint, and build it in ``dist``.

It is done in a copy below ``build``, since ansible-test leaves its output in the collection, and wants it in a folder
``ansible_collections``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "ansible_collections/pyxen/xen"
BUILD: Final = ROOT / "build" / "ansible"
TOOLS: Final = BUILD / "venv"

SECONDS: Final = 1800
"""How long a command may take; the first sanity tests install what they need."""

BRINGS_PIP: Final = "import ensurepip\nensurepip.bootstrap(default_pip=True)\n"
"""For the environments that ansible-test makes: by default it downloads a script for that, from a host of its own."""

NOT_TESTED: Final = "pslint"
"""The sanity test for PowerShell, which the collection has none of."""


def call(*command: str, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command; end this program if it fails."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=variables, check=False, stdin=subprocess.DEVNULL, timeout=SECONDS)
    if done.returncode:
        sys.exit(f"[ansible] failed with status {done.returncode}: {' '.join(command)}")


def main() -> None:
    """Check and build it."""
    programs = Path(sys.executable).parent
    if not (TOOLS / "bin" / "ansible-lint").exists():
        call(sys.executable, "-m", "venv", str(TOOLS))
        call(str(TOOLS / "bin" / "pip"), "install", "-q", "ansible-lint")
    copy, home = BUILD / NAME, BUILD / "home"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "ansible" / NAME, copy, ignore=shutil.ignore_patterns("__pycache__"))
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "get_pip_24_2.py").write_text(BRINGS_PIP)
    path = f"{programs}:{os.environ['PATH']}"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    sanity = ("ansible-test", "sanity", "--python", python, "--skip-test", NOT_TESTED)
    call(*sanity, cwd=copy, HOME=str(home), PATH=path, LC_ALL="C.UTF-8")
    (ROOT / "dist").mkdir(exist_ok=True)
    build = ("ansible-galaxy", "collection", "build", "--force", "--output-path", str(ROOT / "dist"))
    call(*build, str(ROOT / "ansible" / NAME), PATH=path)
    lint = ("ansible-lint", "--offline", "--strict", "--profile", "production")
    call(*lint, cwd=copy, HOME=str(home), PATH=f"{TOOLS / 'bin'}:{path}")


if __name__ == "__main__":
    main()
