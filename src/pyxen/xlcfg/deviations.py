"""The differences between `loads` and xl that are intended, each with its reason and an example that a test runs.

The list does not name cases in which xl's own result is chance, because it reads memory that was not written, or writes
beyond what it has. More distances than virtual nodes and ranges of thousands of colours are refused, and
``rdm="strategy=host"`` has no policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["DEVIATIONS", "Deviation"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference.

    Attributes:
        name: Short name.
        outcome: ``refused`` (pyxen refuses what xl takes), ``taken`` (pyxen takes what xl refuses) or ``other``
            (both take it, with another result).
        reason: What xl does, and why pyxen does not.
        example: Settings that show it, beside a name, a type and a kernel.
        since: The oldest Xen release that takes the example.
    """

    name: str
    outcome: Literal["refused", "taken", "other"]
    reason: str
    example: str
    since: str = "4.17"


DEVIATIONS: Final = (
    Deviation(
        "numbers out of range",
        "refused",
        "xl puts numbers into C types that are too small, or makes huge ones of negative ones; libxl or Xen then fail, "
        "or do something else. pyxen says so at once.",
        'memory = "-1"',
    ),
    Deviation(
        "ports out of range",
        "refused",
        "as above: a port has 16 bits, whatever xl hands on.",
        'type = "hvm"\nspiceport = 70000',
    ),
    Deviation(
        "half a MAC address",
        "refused",
        "xl complains, goes on, and keeps the octets before the mistake with zeros behind them.",
        'vif = [ "mac=00:16:zz" ]',
    ),
    Deviation(
        "ranges that run backwards",
        "refused",
        "xl makes four thousand million I/O ports of 2ff-2f8.",
        'ioports = [ "2ff-2f8" ]',
    ),
    Deviation(
        "vCPUs of a virtual node that are none",
        "refused",
        "xl passes over what it cannot read, and goes on with what was in memory before.",
        'vcpus = 2\nvnuma = [ [ "size=64", "vcpus=0-1,x" ] ]',
    ),
    Deviation(
        "registers in xend's cpuid",
        "refused",
        "xl takes any 32 characters; libxc refuses them when the domain is built.",
        'cpuid = [ "1:eax=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz" ]',
    ),
    Deviation(
        "fewer vCPUs than one",
        "taken",
        "xl before 4.22 refuses a negative number of vCPUs; pyxen makes one of it, as newer ones do.",
        'vcpus = "-1"',
    ),
    Deviation(
        "nodes that the host has not",
        "taken",
        "xl looks at the host it runs on. A configuration can be for another one: pyxen looks when it is used.",
        'vcpus = 1\nvnuma = [ [ "pnode=9", "size=64", "vcpus=0" ] ]',
    ),
    Deviation(
        "CPUs that the host has not",
        "other",
        "xl drops them in silence.",
        'vcpus = 1\ncpus = "0,100"',
    ),
    Deviation(
        "CPUs without a number of vCPUs",
        "other",
        "xl before 4.22 drops cpus in silence where vcpus is not said; pyxen does as newer ones do.",
        'cpus = "3"',
    ),
    Deviation(
        "USB devices without a type",
        "other",
        "xl forgets to say which kind of device it is, and then leaves bus and address out of what it keeps.",
        'usbdev = [ "hostbus=1,hostaddr=10" ]',
    ),
    Deviation(
        "reserved memory of guests other than HVM",
        "other",
        "xl reads the policy of PCI devices out of a part of a union that other guests do not use.",
        'pci = [ "03:00.0" ]',
    ),
    Deviation(
        "the folder of pvgrub",
        "other",
        "xl has the folder it was built with, which is not known elsewhere; pyxen takes Xen's own default.",
        'firmware = "pvgrub64"',
    ),
    Deviation(
        "the folder of xen_9pfsd",
        "other",
        "where no path is said, xl makes one of the log folder it was built with; pyxen leaves it to be said.",
        'p9 = [ "tag=t,type=xen_9pfsd" ]',
        since="4.19",
    ),
    Deviation(
        "what xl.conf says",
        "other",
        "xl adds claim_mode and run_hotplug_scripts from the host's xl.conf; a configuration does not say them.",
        "acpi = 1",
    ),
)
"""The differences."""
