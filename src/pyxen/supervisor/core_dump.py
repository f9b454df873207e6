"""Core dumps, each written by a separate process: libxl writes a dump in one call that blocks its whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading

from pyxen._common.shortage import shortage
from pyxen.domain import Domain
from pyxen.errors import OperationCancelled, OperationFailed
from pyxen.supervisor.watchers import is_here

__all__ = ["DONE", "Dumper"]

DONE = "dumped\n"
"""The process that writes a dump writes this to standard output on success."""


class Dumper:
    """Writes core dumps of domains, each in a separate process.

    Args:
        uri: The host's URI.
        folder: Where the dumps go. It is created if it is missing.
    """

    def __init__(self, uri: str, folder: str) -> None:
        self._uri = uri
        self._folder = folder
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def dump(self, domain: Domain, name: str) -> str:
        """Write a domain's memory to a file with the domain's name, as xl does, and return the path.

        The complete file appears atomically and replaces an older one. A failed dump leaves no file.

        Raises:
            OperationFailed: The domain cannot be dumped, or the file cannot be written; or the host is another machine.
            OperationCancelled: `stop` was called.
        """
        if not is_here(self._uri):
            message = "core dumps go to files of the host, which is another machine: run the supervisor there"
            raise OperationFailed(message, operation="core_dump", domain=name, domid=domain.domid)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            place = os.path.join(self._folder, name.replace("/", "_"))
            with tempfile.TemporaryDirectory(prefix=".dump.", dir=self._folder) as temporary:
                partial = os.path.join(temporary, "core")
                if self._uri.startswith("memory:"):  # no other process has this host
                    domain.core_dump(partial)
                else:
                    self._run([str(domain.domid), str(domain.uuid), partial], domain)
                os.replace(partial, place)
        except OSError as error:
            message = f"cannot write to {self._folder}: {error.strerror}"
            raise OperationFailed(message, operation="core_dump", domain=name, domid=domain.domid) from error
        return place

    def stop(self) -> None:
        """Kill the dumps in progress and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()  # no weaker signal ends it during a libxl call

    def _run(self, arguments: list[str], domain: Domain) -> None:
        command = [_interpreter(domain), "-P", "-m", "pyxen.supervisor.dump_process", *arguments]
        # So that it imports this same pyxen. Python, too, ignores what is no text in its path.
        places: list[object] = [*sys.path]
        modules = os.pathsep.join(each for each in places if each and isinstance(each, str))
        with self._lock:
            if self._stopped:
                raise _stopped(domain)
            with shortage(OperationFailed, "core_dump: cannot start a process"):
                process = subprocess.Popen(
                    command,
                    env={**os.environ, "PYTHONPATH": modules},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="backslashreplace",  # what it complains of may be no text
                    start_new_session=True,  # so that Ctrl-C in the terminal does not reach it
                )
            self._running.add(process)
        with process:
            said, complaint = process.communicate(f"{self._uri}\n")  # every user can read the arguments of a process
        # The exit status may be lost: the application may wait for any child, or ignore SIGCHLD.
        done = said == DONE
        with self._lock:
            self._running.discard(process)
            if not done and self._stopped:
                raise _stopped(domain)
        if not done:
            message = complaint.strip() or f"the process that writes it ended with status {process.returncode}"
            raise _failed(message, domain)


def _interpreter(domain: Domain) -> str:
    """Return the program that runs Python.

    Raises:
        OperationFailed: It is not known. That of a frozen program is the program itself, which would be started again.
    """
    if getattr(sys, "frozen", False):
        cause = "this program is frozen"
    elif not sys.executable:
        cause = "Python does not say where its interpreter is (sys.executable is empty)"
    else:
        return sys.executable
    raise _failed(f"another Python process writes it, and {cause}: run pyxen supervise of an installed pyxen", domain)


def _failed(message: str, domain: Domain) -> OperationFailed:
    return OperationFailed(message, operation="core_dump", domain=domain.domid, domid=domain.domid)


def _stopped(domain: Domain) -> OperationCancelled:
    message = "the supervisor was stopped"
    return OperationCancelled(message, operation="core_dump", domain=domain.domid, domid=domain.domid)
