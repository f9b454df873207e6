"""Programs of the host that the lab calls: which are missing, how to install them, how to run one as root."""

from __future__ import annotations

import os
import shutil
import subprocess

from lab.errors import BuildFailed, LabError, MissingTools

STEP_SECONDS = 600.0
"""Time for a step of a build; the slowest takes 40 s on two cores."""
TIMED_OUT = 124
"""The exit status of what `as_root` has ended."""
_ENDING_SECONDS = 30.0
_SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin"

# Program -> Debian package. mke2fs lives in /usr/sbin, which is not on every user's PATH.
RUN_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "tar": "tar",
    "setpriv": "util-linux",
}
BUILD_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "mke2fs": "e2fsprogs",
    "gcc": "gcc",
    "ld": "binutils",
    "chroot": "coreutils",
}


def which(program: str) -> str | None:
    """Full path of a program, on the PATH or in the system's own folders."""
    return shutil.which(program) or shutil.which(program, path=_SYSTEM_PATHS)


def require(*tables: dict[str, str]) -> None:
    """Check that every program of the tables is installed.

    Raises:
        MissingTools: Some are not; the message has the one apt-get line that installs all of them.
    """
    wanted = {program: package for table in tables for program, package in table.items()}
    missing = [program for program in wanted if which(program) is None]
    if missing:
        packages = " ".join(sorted({wanted[program] for program in missing}))
        sudo = "" if os.geteuid() == 0 else "sudo "
        raise MissingTools(
            f"the lab needs {', '.join(missing)}, not installed on this machine.\n"
            f"Install what is missing: {sudo}apt-get install --no-install-recommends {packages}"
        )


def as_root(argv: list[str], *, seconds: float = STEP_SECONDS) -> list[str]:
    """The same command, run by root: through sudo unless we are root already.

    Args:
        argv: The program and its arguments.
        seconds: Its time, after which it is ended with status 124; only root can do that.

    Raises:
        LabError: We are not root, and there is no sudo.
    """
    # In the foreground, so that Ctrl-C reaches it too.
    bounded = ["timeout", "--foreground", "--kill-after=10", f"{seconds:g}", which(argv[0]) or argv[0], *argv[1:]]
    if os.geteuid() == 0:
        return bounded
    if which("sudo") is None:
        raise LabError(
            "building the lab unpacks Debian and enters it with chroot, which takes root: be root, or install sudo"
        )
    return ["sudo", "--", *bounded]


def call(argv: list[str], *, what: str, cwd: str | None = None, seconds: float = STEP_SECONDS) -> str:
    """Run a program of the build to its end and return its standard output.

    Args:
        argv: The program and its arguments.
        what: What the step does, for the error message.
        cwd: The folder to run it in.
        seconds: Its time.

    Raises:
        BuildFailed: It failed, or took too long; the message has the end of what it printed.
    """
    shown = " ".join(argv[:6])
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds + _ENDING_SECONDS,  # what runs as root is ended by `timeout` before
        )
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"{what} took longer than {seconds:.0f} s: `{shown} ...` was ended") from None
    if done.returncode == TIMED_OUT:
        raise BuildFailed(f"{what} took longer than {seconds:.0f} s: `{shown} ...` was ended")
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise BuildFailed(f"{what} failed: `{shown} ...` exited with status {done.returncode}\n{tail}")
    return done.stdout
