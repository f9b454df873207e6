"""A real Xen host inside QEMU, on KVM or emulated: for tests, for benchmarks, for anyone without Xen hardware.

From a shell, in the top folder of the repository::

    python3 -m lab build                      # once; later starts cost seconds
    python3 -m lab run -- xl list             # boot, run in dom0, exit with its status
    python3 -m lab shell                      # a shell in dom0

From Python::

    from lab import Lab

    with Lab(xen="4.20") as dom0:
        print(dom0.run(["xl", "list"]).stdout)

Needs nothing but the standard library and the programs that `lab.tools` names. It is no part of the wheel.
"""

from lab.errors import BootFailed, BuildFailed, CommandFailed, CommandTimeout, LabError, MachineHangs, MissingTools
from lab.machine import Lab, Result

__all__ = [
    "BootFailed",
    "BuildFailed",
    "CommandFailed",
    "CommandTimeout",
    "Lab",
    "LabError",
    "MachineHangs",
    "MissingTools",
    "Result",
]
