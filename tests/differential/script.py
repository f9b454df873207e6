"""The whole script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.differential import creating, devices, hosts, living
from tests.differential.plain import Leaves
from tests.differential.prober import Prober, World

__all__ = ["SCENES", "outcomes"]

Scene = Callable[[Prober], None]

SCENES: Final[tuple[Scene, ...]] = (
    *(hosts.reports, hosts.domains, hosts.cpupools, hosts.xenstore, hosts.hypervisor),
    *(creating.refused, creating.created),
    *(living.paused, living.running, living.ended, living.gone, living.dom0, living.hvm),
    devices.devices,
)


def outcomes(world: World) -> dict[str, Leaves]:
    """Play the whole script on a host, and return what each probe led to."""
    prober = Prober(world)
    for scene in SCENES:
        prober.play(scene)
    return prober.outcomes
