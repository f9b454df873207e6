"""What a host has and lacks to run domains, and what to do about it: ``pyxen.doctor.examine()``.

::

    report = pyxen.doctor.examine()
    for finding in report.problems:
        print(finding.severity, finding.found, finding.remedy)

It works on any machine, with Xen or without, and for any user; what it cannot see it says.
"""

from pyxen.doctor.examination import examine
from pyxen.doctor.report import Finding, Report, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["Finding", "Report", "Severity", "Surroundings", "examine"]
