"""Core dumps in a process of their own: libxl writes one in a single call, in which nothing else of a process moves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading

from pyxen.domain import Domain
from pyxen.errors import OperationCancelled, OperationFailed
from pyxen.supervisor.dump_process import DONE

__all__ = ["Dumper"]


class Dumper:
    """Writes core dumps of domains, each in a process of its own.

    Args:
        uri: The host.
        folder: Where the dumps go; it is made if it is not there.
    """

    def __init__(self, uri: str, folder: str) -> None:
        self._uri = uri
        self._folder = folder
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def dump(self, domain: Domain, name: str) -> str:
        """Write the memory of a domain to the file of its name, as xl does, and return the path.

        The file appears at once and whole, in place of an older one; a dump that fails leaves nothing.

        Raises:
            OperationFailed: It cannot be dumped, or not be written.
            OperationCancelled: `stop` was called.
        """
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            place = os.path.join(self._folder, name.replace("/", "_"))
            with tempfile.TemporaryDirectory(prefix=".dump.", dir=self._folder) as temporary:
                partial = os.path.join(temporary, "core")
                self._run([self._uri, str(domain.domid), str(domain.uuid), partial], domain)
                os.replace(partial, place)
        except OSError as error:
            message = f"cannot write to {self._folder}: {error.strerror}"
            raise OperationFailed(message, operation="core_dump", domain=name, domid=domain.domid) from error
        return place

    def stop(self) -> None:
        """End the dumps that are being written, and write no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()  # nothing less ends it in the middle of a call of libxl's

    def _run(self, arguments: list[str], domain: Domain) -> None:
        command = [sys.executable, "-P", "-m", "pyxen.supervisor.dump_process", *arguments]
        modules = os.pathsep.join(path for path in sys.path if path)  # the very same pyxen
        with self._lock:
            if self._stopped:
                raise _stopped(domain)
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": modules},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
            )
            self._running.add(process)
        with process:
            said, complaint = process.communicate()
        # Its status may be lost: an application can wait for any child, or ignore SIGCHLD.
        done = said == DONE
        with self._lock:
            self._running.discard(process)
            if not done and self._stopped:
                raise _stopped(domain)
        if not done:
            message = complaint.strip() or f"the process that writes it ended with status {process.returncode}"
            raise OperationFailed(message, operation="core_dump", domain=domain.domid, domid=domain.domid)


def _stopped(domain: Domain) -> OperationCancelled:
    message = "the supervisor was stopped"
    return OperationCancelled(message, operation="core_dump", domain=domain.domid, domid=domain.domid)
