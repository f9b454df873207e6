"""The exceptions of pyxen: a tree under `Error`. Many also derive from the builtin that fits.

::

    pyxen.Error
    ├── ConfigError (ValueError)            a configuration, or its text, is invalid
    │   ├── ParseError                      … at this line and column
    │   ├── ValidationError                 … settings contradict each other
    │   └── LossyConversion                 … the target format cannot express it
    ├── UnsupportedFeature (NotImplementedError)   this backend, or this Xen release, cannot do it
    ├── ConnectFailed (ConnectionError)     the host cannot be reached
    │   ├── BindingNotBuilt                 the extension for this Xen release was not compiled
    │   ├── LibraryMissing                  Xen's libraries, or libvirt's, are not installed
    │   ├── NotOnXen                        this machine does not run on Xen, or not as dom0
    │   └── NotPrivileged (PermissionError) this user may not control Xen
    ├── HostClosed (ValueError)             the host was closed, or belongs to the parent process
    └── OperationFailed                     libxl, Xen or libvirt refused
        ├── DomainNotFound (LookupError)
        ├── DomainExists
        ├── DeviceExists
        ├── CpupoolExists
        ├── NotFound (LookupError)          a device, a pool, a file in xenstore …
        ├── FileMissing (FileNotFoundError) a kernel, a ramdisk, a disk image …
        ├── InvalidArgument (ValueError)    a value is not valid
        ├── InvalidState                    the state of the domain, or of the CPU pool, does not allow it
        ├── NotEnoughMemory (MemoryError)
        ├── NotReady
        ├── NoGuestDriver                   the guest has no PV driver that could answer
        ├── GuestTimeout (TimeoutError)     the guest did not answer in time
        ├── OperationTimeout (TimeoutError) the deadline of the call passed
        ├── OperationCancelled
        ├── MigrationFailed                 the other end of a migration failed; the domain goes on where it was
        ├── MigrationInDoubt                … was lost after it was allowed to start the domain: check both
        ├── BackupLost                      the backup of a replicated domain was lost, and may run: check both
        ├── LockFailed                      xl's lock, or libxl's on the domain, could not be taken
        ├── ApplyFailed                     a step of an apply failed; it says which were done
        ├── CloneFailed                     some clones were not made; the others run
        ├── QmpError                        the device model (QEMU) refused
        ├── ToolMissing                     a program of the host that the call needs is not installed
        ├── StorageError                    LVM or qemu-img refused, in its own words
        │   ├── ImageError                  … a program that makes a part of an image failed
        │   │   └── NoNetwork (ConnectionError) … the packages of a distribution cannot be fetched
        │   ├── NotEnoughSpace              … the volume group, the pool or the file system is full
        │   ├── VolumeExists                … the name is taken
        │   └── VolumeInUse                 … a domain, or the kernel, holds the volume
        └── XenstoreError                   xenstore refused
            ├── NodeNotFound (LookupError)  … it has no such node
            ├── XenstoreDenied (PermissionError)
            ├── XenstoreQuota               … a quota is used up
            └── XenstoreConflict            … others kept changing the nodes of a transaction
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar

from pyxen._printable import printable

if TYPE_CHECKING:
    from pyxen.applying import ApplyStep
    from pyxen.losses import Loss

__all__ = [
    "ApplyFailed",
    "BackupLost",
    "BindingNotBuilt",
    "CloneFailed",
    "ConfigError",
    "ConnectFailed",
    "CpupoolExists",
    "DeviceExists",
    "DomainExists",
    "DomainNotFound",
    "Error",
    "FileMissing",
    "GuestTimeout",
    "HostClosed",
    "ImageError",
    "InvalidArgument",
    "InvalidState",
    "LibraryMissing",
    "LockFailed",
    "LossyConversion",
    "MigrationFailed",
    "MigrationInDoubt",
    "NoGuestDriver",
    "NoNetwork",
    "NodeNotFound",
    "NotEnoughMemory",
    "NotEnoughSpace",
    "NotFound",
    "NotOnXen",
    "NotPrivileged",
    "NotReady",
    "OperationCancelled",
    "OperationFailed",
    "OperationTimeout",
    "ParseError",
    "QmpError",
    "StorageError",
    "ToolMissing",
    "UnsupportedFeature",
    "ValidationError",
    "VolumeExists",
    "VolumeInUse",
    "XenstoreConflict",
    "XenstoreDenied",
    "XenstoreError",
    "XenstoreQuota",
]


class Error(Exception):
    """Base of all exceptions that pyxen raises on purpose.

    Attributes:
        message: What went wrong and what to do about it, without libxl's log lines.

    `str` escapes control characters, because a name or a log line may come from a guest or a peer.
    """

    _ERRNO: ClassVar[int | None] = None
    """The ``errno`` of those that are an `OSError`: callers of the standard library look at it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        if isinstance(self, OSError):
            _set_errno(self, self._ERRNO)

    def __str__(self) -> str:
        return printable(self._text())

    def _text(self) -> str:
        """Return the text of `str`, before control characters are escaped."""
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take more than a message, and OSError has its own __reduce__: pickle the attributes instead.
        attributes = dict(self.__dict__)
        if isinstance(self, OSError):
            attributes |= {"errno": self.errno, "filename": self.filename}  # not in __dict__: OSError keeps them in C
        return _rebuild, (type(self), self.message, attributes)


def _set_errno(error: OSError, number: int | None) -> None:
    error.errno = number


def _rebuild(cls: type[Error], message: str, attributes: dict[str, Any]) -> Error:
    error = cls(message)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class ConfigError(Error, ValueError):
    """A configuration, or the text of one, is invalid.

    Attributes:
        path: The invalid field, e.g. ``disks[1].vdev``; None if no single field is to blame.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class ParseError(ConfigError):
    """A text could not be read.

    Attributes:
        line: Line of the error, from 1; None if the text has no lines.
        column: Column of the error, from 1, in characters; None if unknown.
        source: Name of the file; None if there is no file.
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

    def _text(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class ValidationError(ConfigError):
    """Settings of a configuration contradict each other.

    Attributes:
        problems: All problems found, each as ``path: what is wrong``.
    """

    def __init__(self, message: str, *, path: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, path=path)
        self.problems = problems


class LossyConversion(ConfigError):
    """The target format cannot express the whole configuration.

    Attributes:
        losses: The settings that would be lost, a tuple of `pyxen.Loss`.
    """

    def __init__(self, message: str, *, losses: tuple[Loss, ...] = ()) -> None:
        super().__init__(message)
        self.losses = losses


class UnsupportedFeature(Error, NotImplementedError):
    """This backend, or this Xen release, cannot do what was asked.

    Attributes:
        feature: The missing feature, e.g. ``disks[0].grant_usage``.
        backend: The backend that lacks it, e.g. ``xenlight (Xen 4.17)``.
    """

    def __init__(self, message: str, *, feature: str | None = None, backend: str | None = None) -> None:
        super().__init__(message)
        self.feature = feature
        self.backend = backend


class ConnectFailed(Error, ConnectionError):
    """The host cannot be reached."""


class BindingNotBuilt(ConnectFailed):
    """The extension for the running Xen release was not compiled."""


class LibraryMissing(ConnectFailed):
    """Xen's shared libraries, or libvirt's, are not installed."""


class NotOnXen(ConnectFailed):
    """This machine does not run on Xen, or is not its control domain."""


class NotPrivileged(ConnectFailed, PermissionError):
    """The machine runs on Xen, but this user may not control it."""

    _ERRNO = errno.EACCES


class HostClosed(Error, ValueError):
    """The host was closed, or was opened by the parent process before a fork."""


class OperationFailed(Error):
    """Libxl, Xen or libvirt refused an operation.

    Attributes:
        operation: The verb, in xl's terms: ``create``, ``shutdown`` …
        domain: Name or domid of the domain, if known.
        domid: Its domid; None if it has no domid.
        code: libxl's code (``ERROR_NOMEM`` is -5), or the backend's own.
        log: The lines that libxl logged during this call, oldest first.
    """

    _LOGGED_BY: ClassVar = "libxl: "
    """What the lines of the log begin with in the text of the error."""

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

    def _text(self) -> str:
        subject = " ".join(str(part) for part in (self.operation, self.domain) if part is not None)
        head = f"{subject}: {self.message}" if subject else self.message
        return "\n".join([head, *(f"  {self._LOGGED_BY}{line}" for line in self.log)])


class DomainNotFound(OperationFailed, LookupError):
    """The domain does not exist, or no longer exists. Xen reuses domids, and names can change hands."""


class DomainExists(OperationFailed):
    """A domain with that name or uuid already exists."""


class DeviceExists(OperationFailed):
    """The domain already has such a device."""


class CpupoolExists(OperationFailed):
    """A CPU pool with that name already exists."""


class NotFound(OperationFailed, LookupError):
    """Something other than a domain does not exist: a device, a CPU pool, a scheduler entry."""


class FileMissing(OperationFailed, FileNotFoundError):
    """A file named by the configuration is not on the host: a kernel, a ramdisk, a disk image."""

    _ERRNO = errno.ENOENT


class InvalidArgument(OperationFailed, ValueError):
    """A value is not valid: pyxen refused it, or libxl did (``ERROR_INVAL``)."""


class InvalidState(OperationFailed):
    """The state of the domain does not allow this, e.g. it is paused and so cannot answer; or that of the CPU pool."""


class NotEnoughMemory(OperationFailed, MemoryError):
    """The host has not enough free memory."""


class NotReady(OperationFailed):
    """Something that the call needs is not ready yet (``ERROR_NOT_READY``)."""


class NoGuestDriver(OperationFailed):
    """The guest has no PV driver that could answer (``ERROR_NOPARAVIRT``)."""


class GuestTimeout(OperationFailed, TimeoutError):
    """The guest did not answer in time (``ERROR_GUEST_TIMEDOUT``)."""

    _ERRNO = errno.ETIMEDOUT


class OperationTimeout(OperationFailed, TimeoutError):
    """The timeout of the call expired, and its partial work was undone."""

    _ERRNO = errno.ETIMEDOUT


class OperationCancelled(OperationFailed):
    """The operation was cancelled, and its partial work was undone."""


class MigrationFailed(OperationFailed):
    """The other end of a migration failed or was lost. The domain continues here; nothing is left there."""


class MigrationInDoubt(OperationFailed):
    """The other end of a migration was lost after it was allowed to start the domain. It may or may not have done so.

    The domain stays here, suspended, as ``NAME--migratedaway``. If it runs at the other end, destroy it here. If it
    does not exist there, rename it back and call `Domain.resume`. Never let both run: they would corrupt their disks.
    """


class BackupLost(OperationFailed):
    """The backup of a domain replicated by `Domain.remus` was lost, or did not confirm that it was called off.

    The domain continues here. The backup may have taken over, from the last checkpoint. Check the other host, and
    destroy one of the two. Never let both run: they would corrupt their disks.
    """


class LockFailed(OperationFailed):
    """A lock could not be taken: xl's own, or libxl's on the domain (``ERROR_LOCK_FAIL``).

    xl's is the file in which one create waits for another; a program held it for too long. For its own lock libxl waits
    without end, so that its file cannot be opened, or the domain has gone meanwhile.
    """


class ApplyFailed(OperationFailed):
    """A step of `Host.apply` failed. The error of that step is the ``__cause__``.

    The domain runs with the steps that were done. Applying the configuration again continues from there.

    Attributes:
        done: The steps that were done, in order, a tuple of `pyxen.ApplyStep`.
        failed: The step that failed, a `pyxen.ApplyStep`. None: all were done, but the configuration could not be kept.
        not_done: The steps after it, which were not tried, a tuple of `pyxen.ApplyStep`.
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
        done: tuple[ApplyStep, ...] = (),
        failed: ApplyStep | None = None,
        not_done: tuple[ApplyStep, ...] = (),
    ) -> None:
        super().__init__(message, operation=operation, domain=domain, domid=domid, code=code, log=log)
        self.done = done
        self.failed = failed
        self.not_done = not_done


class CloneFailed(OperationFailed):
    """Some clones of `Host.clone` with ``partial=True`` failed. The others run.

    Attributes:
        results: What became of each clone, in their order: its handle, or the exception that it failed with. In
            an error that was pickled or copied, ``(domid, uuid, name)`` is in place of a handle.
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
        results: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(message, operation=operation, domain=domain, domid=domid, code=code, log=log)
        self.results = results

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, (cls, message, attributes) = super().__reduce__()
        attributes["results"] = tuple(
            each if isinstance(each, Exception | tuple) else (each.domid, each.uuid, each.name) for each in self.results
        )
        return rebuild, (cls, message, attributes)


class QmpError(OperationFailed):
    """The device model (QEMU) refused a command, has ended, or its answer is not valid.

    Attributes:
        error_class: QEMU's class of the error, e.g. ``CommandNotFound``; None if the command was not sent by
            `Qmp.execute`, or QEMU gave no class.
        description: QEMU's own words; None likewise.
    """

    error_class: str | None = None
    description: str | None = None


class ToolMissing(OperationFailed):
    """A program of the host that the call needs is not installed, such as LVM's or qemu-img."""


class StorageError(OperationFailed):
    """LVM, qemu-img or the like refused. The message ends with its own words; ``code`` is its exit status."""


class ImageError(StorageError):
    """An image with a system was not made, and no file of it is left; ``log`` has what the program printed last."""

    _LOGGED_BY = ""


class NoNetwork(ImageError, ConnectionError):
    """The packages of a distribution cannot be fetched: there is no network, no name service, or no such mirror."""


class NotEnoughSpace(StorageError):
    """The volume group, the thin pool or the file system has not enough free space."""


class VolumeExists(StorageError):
    """A volume or a file with that name already exists."""


class VolumeInUse(StorageError):
    """A domain has the volume as a disk, or the kernel has it open: it is mounted, or a program reads it."""


class XenstoreError(OperationFailed):
    """Xenstore refused a request; ``code`` is the negative errno.

    Attributes:
        path: The node; None if the request was not about a single node.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        operation: str | None = None,
        domain: str | int | None = None,
        domid: int | None = None,
        code: int | None = None,
        log: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, operation=operation, domain=domain, domid=domid, code=code, log=log)
        self.path = path


class NodeNotFound(XenstoreError, LookupError):
    """Xenstore has no such node."""


class XenstoreDenied(XenstoreError, PermissionError):
    """Xenstore does not allow this domain to do that (``EACCES``, ``EPERM``)."""

    _ERRNO = errno.EACCES


class XenstoreQuota(XenstoreError):
    """A quota of xenstore is used up, or a value is larger than xenstore allows (``ENOSPC``, ``E2BIG``)."""


class XenstoreConflict(XenstoreError):
    """Others kept changing the nodes of a transaction, so it could not be committed (``EAGAIN``, ``EBUSY``)."""
