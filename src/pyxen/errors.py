"""The exceptions of pyxen: one tree under `Error`, each also the builtin that fits.

::

    pyxen.Error
    ├── ConfigError (ValueError)            a configuration, or a text that should be one, is wrong
    │   ├── ParseError                      … at this line and column
    │   ├── ValidationError                 … these settings do not go together
    │   └── LossyConversion                 … the target spelling cannot say it
    ├── UnsupportedFeature (NotImplementedError)   this backend, or this Xen release, cannot do it
    ├── ConnectFailed (ConnectionError)     no way to the host
    │   ├── BindingNotBuilt                 the extension for this Xen release was not compiled
    │   ├── LibraryMissing                  it was, but Xen's libraries are not installed
    │   ├── NotOnXen                        this machine does not run on Xen, or not as dom0
    │   └── NotPrivileged (PermissionError) it does, but this user may not talk to it
    ├── HostClosed (ValueError)             the host was closed, or belongs to the parent process
    └── OperationFailed                     libxl, Xen or libvirt refused
        ├── DomainNotFound (LookupError)
        ├── DomainExists
        ├── DeviceExists
        ├── NotFound (LookupError)          a device, a pool, a file in xenstore …
        ├── FileMissing (FileNotFoundError) a kernel, a ramdisk, a disk image …
        ├── InvalidArgument (ValueError)
        ├── InvalidState                    the domain is not in a state in which this can work
        ├── NotEnoughMemory (MemoryError)
        ├── NotReady
        ├── NoGuestDriver                   the guest has no PV driver that could answer
        ├── GuestTimeout (TimeoutError)     the guest did not answer in time
        ├── OperationTimeout (TimeoutError) the deadline of the call passed
        ├── OperationCancelled
        ├── MigrationFailed                 the other end of a migration failed; the domain goes on where it was
        ├── MigrationInDoubt                … was lost when it had leave to start the domain: look at both ends
        ├── BackupLost                      the backup of a replicated domain was lost, and may run: look at both ends
        ├── LockFailed                      another toolstack holds libxl's lock on the domain
        └── QmpError                        the device model (QEMU) refused
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BackupLost",
    "BindingNotBuilt",
    "ConfigError",
    "ConnectFailed",
    "DeviceExists",
    "DomainExists",
    "DomainNotFound",
    "Error",
    "FileMissing",
    "GuestTimeout",
    "HostClosed",
    "InvalidArgument",
    "InvalidState",
    "LibraryMissing",
    "LockFailed",
    "LossyConversion",
    "MigrationFailed",
    "MigrationInDoubt",
    "NoGuestDriver",
    "NotEnoughMemory",
    "NotFound",
    "NotOnXen",
    "NotPrivileged",
    "NotReady",
    "OperationCancelled",
    "OperationFailed",
    "OperationTimeout",
    "ParseError",
    "QmpError",
    "UnsupportedFeature",
    "ValidationError",
]


class Error(Exception):
    """Base of everything that pyxen raises on purpose.

    Attributes:
        message: What went wrong and what to do about it, without libxl's lines.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes below take more than a message, and OSError has a __reduce__ of its own: carry the attributes instead.
        attributes = dict(self.__dict__)
        if isinstance(self, OSError):
            attributes["filename"] = self.filename  # not in __dict__: OSError keeps it in C
        return _rebuild, (type(self), self.message, attributes)


def _rebuild(cls: type[Error], message: str, attributes: dict[str, Any]) -> Error:
    error = cls(message)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class ConfigError(Error, ValueError):
    """A configuration, or a text that should be one, is wrong.

    Attributes:
        path: The field at fault, as in ``disks[1].vdev``; None where no single field is.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class ParseError(ConfigError):
    """A text could not be read.

    Attributes:
        line: Line of the fault, from 1; None where the text has no lines.
        column: Column of the fault, from 1, in characters; None where unknown.
        source: Name of the file, where there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        source: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message, path=path)
        self.line = line
        self.column = column
        self.source = source

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class ValidationError(ConfigError):
    """Settings of a configuration cannot work together.

    Attributes:
        problems: Every problem found, each a line ``path: what is wrong``.
    """

    def __init__(self, message: str, *, path: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, path=path)
        self.problems = problems


class LossyConversion(ConfigError):
    """The target spelling cannot say all of the configuration.

    Attributes:
        losses: What would be lost, a tuple of `pyxen.Loss`.
    """

    def __init__(self, message: str, *, losses: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.losses = losses


class UnsupportedFeature(Error, NotImplementedError):
    """This backend, or this Xen release, cannot do what was asked.

    Attributes:
        feature: What was asked for, e.g. ``disks[0].grant_usage``.
        backend: Who cannot do it, e.g. ``xenlight (Xen 4.17)``.
    """

    def __init__(self, message: str, *, feature: str | None = None, backend: str | None = None) -> None:
        super().__init__(message)
        self.feature = feature
        self.backend = backend


class ConnectFailed(Error, ConnectionError):
    """There is no way to the host."""


class BindingNotBuilt(ConnectFailed):
    """The extension for the running Xen release was not compiled."""


class LibraryMissing(ConnectFailed):
    """The extension is there, but Xen's shared libraries are not."""


class NotOnXen(ConnectFailed):
    """This machine does not run on Xen, or is not its control domain."""


class NotPrivileged(ConnectFailed, PermissionError):
    """Xen is there, but this user may not control it."""


class HostClosed(Error, ValueError):
    """The host was closed, or was opened by the parent process of a fork."""


class OperationFailed(Error):
    """Libxl, Xen or libvirt refused an operation.

    Attributes:
        operation: The verb, as xl's: ``create``, ``shutdown`` …
        domain: Name or domid of the domain, as far as known.
        domid: Its domid; None where there is none.
        code: libxl's code (``ERROR_NOMEM`` is -5), or the backend's own.
        log: The lines that libxl logged during this very call, oldest first.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        domain: str | int | None = None,
        domid: int | None = None,
        code: int | None = None,
        log: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.domain = domain
        self.domid = domid
        self.code = code
        self.log = log

    def __str__(self) -> str:
        subject = " ".join(str(part) for part in (self.operation, self.domain) if part is not None)
        head = f"{subject}: {self.message}" if subject else self.message
        return "\n".join([head, *(f"  libxl: {line}" for line in self.log)])


class DomainNotFound(OperationFailed, LookupError):
    """There is no such domain, or no longer: domids are reused, names move."""


class DomainExists(OperationFailed):
    """A domain of that name or uuid exists already."""


class DeviceExists(OperationFailed):
    """The domain has such a device already."""


class NotFound(OperationFailed, LookupError):
    """Something other than a domain does not exist: a device, a CPU pool, a scheduler entry."""


class FileMissing(OperationFailed, FileNotFoundError):
    """A file of the configuration is not on the host: a kernel, a ramdisk, a disk image."""


class InvalidArgument(OperationFailed, ValueError):
    """Libxl refused a value (``ERROR_INVAL``)."""


class InvalidState(OperationFailed):
    """The domain is not in a state in which this can work, e.g. paused when it should act."""


class NotEnoughMemory(OperationFailed, MemoryError):
    """The host has not enough free memory."""


class NotReady(OperationFailed):
    """What is needed is not ready yet (``ERROR_NOT_READY``)."""


class NoGuestDriver(OperationFailed):
    """The guest has no PV driver that could answer (``ERROR_NOPARAVIRT``)."""


class GuestTimeout(OperationFailed, TimeoutError):
    """The guest did not answer in time (``ERROR_GUEST_TIMEDOUT``)."""


class OperationTimeout(OperationFailed, TimeoutError):
    """The deadline of the call passed; what it had begun was undone."""


class OperationCancelled(OperationFailed):
    """The operation was cancelled; what it had begun was undone."""


class MigrationFailed(OperationFailed):
    """The other end of a migration failed, or was lost; the domain goes on where it was, and nothing is left of it."""


class MigrationInDoubt(OperationFailed):
    """The other end of a migration was lost when it had leave to start the domain, and nobody knows whether it has.

    The domain stays here, suspended, as ``NAME--migratedaway``. If it runs at the other end, destroy it here. If it
    does not, and nothing of it is left there, give it its name again and `Domain.resume` it. Never let both run: they
    would ruin the disks that they share.
    """


class BackupLost(OperationFailed):
    """The backup of a domain that `Domain.remus` replicates was lost, or does not say that it has let go of it.

    The domain goes on here. At the other end it may have taken over, as of the last checkpoint: look there, and destroy
    one of both. Never let both run: they would ruin the disks that they share.
    """


class LockFailed(OperationFailed):
    """Another toolstack holds libxl's lock on the domain (``ERROR_LOCK_FAIL``)."""


class QmpError(OperationFailed):
    """The device model (QEMU) refused a command."""
