"""What runs in a domain of a pretended host: as much of a guest's kernel as libxl and pyxen can see."""

from __future__ import annotations

import contextlib
import threading
import time

from tests.offhost.store import GuestStopped, GuestStore, StoreError
from tests.offhost.world import Reason, World

__all__ = ["Guest"]

_OBEYED = {"poweroff": Reason.POWEROFF, "halt": Reason.POWEROFF, "reboot": Reason.REBOOT, "suspend": Reason.SUSPEND}


class Guest:
    """A guest.

    Args:
        world: The hypervisor.
        domid: Its domid.
        port: Its event channel to xenstored.

    Attributes:
        store: Its connection to xenstore, with its own rights.
    """

    def __init__(self, world: World, domid: int, port: int) -> None:
        self.domid = domid
        self._world = world
        self._ended = threading.Event()
        self.store = GuestStore(world.store_page(domid), lambda: world.notify(domid, port), self._runs)
        self._thread: threading.Thread | None = None

    def _runs(self) -> bool:
        return not self._ended.is_set() and self._world.is_down(self.domid) is False

    def shut_down(self, reason: int = Reason.POWEROFF) -> None:
        """Shut down."""
        self._world.shut_down(self.domid, reason)

    def obey(self) -> None:
        """Do from now on, on a thread, what ``control/shutdown`` says; nothing else may use `store` then."""
        for feature in ("poweroff", "reboot", "suspend"):
            self.store.write(f"control/feature-{feature}", "1")
        self.store.watch("control/shutdown", "control")
        self._thread = threading.Thread(target=self._obey, name=f"guest-{self.domid}", daemon=True)
        self._thread.start()

    def _obey(self) -> None:
        with contextlib.suppress(GuestStopped, TimeoutError):  # xenstored may be gone, and the guest hangs
            while not self._ended.is_set():
                if self._world.is_down(self.domid):
                    time.sleep(0.001)  # suspended; it may be resumed
                elif self.store.event(timeout=0.02) is not None:
                    self._look()

    def _look(self) -> None:
        try:
            word = self.store.read("control/shutdown")
            if word:
                self.store.write("control/shutdown", "")
        except StoreError:
            return  # the domain is taken away, nodes first
        if word:
            self.shut_down(_OBEYED.get(word, Reason.CRASH))

    def close(self) -> None:
        """End it, without a word to anyone."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(10)
        self.store.close()
