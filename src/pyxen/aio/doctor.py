"""What a host has and lacks to run domains: `pyxen.doctor`, awaited."""

from __future__ import annotations

from pyxen import doctor
from pyxen.aio._programs import awaited
from pyxen.doctor import Finding, Report, Severity, Surroundings

__all__ = ["Finding", "Report", "Severity", "Surroundings", "examine"]

examine = awaited(doctor.examine, __name__)
