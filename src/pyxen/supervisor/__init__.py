"""The supervisor: one process that acts whenever a domain of a host ends, as the domain's configuration says."""

from pyxen.supervisor.actions import Outcome
from pyxen.supervisor.policy import Brake
from pyxen.supervisor.supervisor import Supervisor
from pyxen.supervisor.watchers import watcher_of

__all__ = ["Brake", "Outcome", "Supervisor", "watcher_of"]
