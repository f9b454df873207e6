"""How hypothesis looks for examples. Tests in dom0 do without it, since it takes seconds to load there."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def load() -> None:
    """Set hypothesis up.

    A busy machine is no fault of a test. Two runs of the same code try the same examples, so that a failure belongs to
    the change that it is seen with; `make fuzz` looks for new ones.
    """
    settings.register_profile(
        "pyxen",
        deadline=None,
        derandomize="PYXEN_RANDOM" not in os.environ,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("pyxen")
