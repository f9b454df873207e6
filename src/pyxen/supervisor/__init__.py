"""Acting when a domain ends, as its configuration says: for all domains of a host, in one process."""

from pyxen.supervisor.actions import Outcome
from pyxen.supervisor.policy import Brake
from pyxen.supervisor.supervisor import Supervisor
from pyxen.supervisor.watchers import watcher_of

__all__ = ["Brake", "Outcome", "Supervisor", "watcher_of"]
