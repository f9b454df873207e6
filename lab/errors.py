"""What can go wrong with the lab itself."""

from __future__ import annotations


class LabError(Exception):
    """Base of every error of the lab: the message says what to do."""


class MissingTools(LabError):
    """Programs that the lab needs are not installed on this machine."""


class BuildFailed(LabError):
    """A step of building the image, the build root or the extension failed."""


class BootFailed(LabError):
    """The machine did not come up; the message ends with the tail of its console."""


class MachineHangs(BootFailed):
    """The emulated machine gives no sign of life any more: start another one."""


class CommandFailed(LabError):
    """A command that was run with ``check=True`` exited with another status than 0."""


class CommandTimeout(LabError):
    """A command in dom0 did not end in time and was killed.

    Attributes:
        stdout: What it had written until then.
        stderr: What it had written to its standard error until then.
    """

    def __init__(self, message: str, *, stdout: str = "", stderr: str = "") -> None:
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr
