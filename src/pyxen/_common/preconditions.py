"""Preconditions of verbs and their error messages, shared by all backends.

A function named ``check_…`` raises. A function named after a problem returns the exception, for backends that detect
the problem in their own way. It takes the operation where one exists, so that the exception carries the operation's
log.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen._common.cpu_affinity import on_host
from pyxen._common.host_files import missing_bridge
from pyxen.config import CpuSet, DeviceModelVersion, DomainConfig, DomainType, Scheduler, VgaInterfaceType
from pyxen.errors import (
    DomainExists,
    DomainNotFound,
    FileMissing,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    NotFound,
    OperationFailed,
    UnsupportedFeature,
    ValidationError,
)
from pyxen.features import Feature
from pyxen.operation import Operation, describe
from pyxen.records.info import ENDS, DomainInfo, DomainState, ShutdownReason
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = [
    "SCHEDULER_PARAMETERS",
    "being_suspended",
    "check_affinity",
    "check_answers",
    "check_cpus",
    "check_disc",
    "check_disc_can_change",
    "check_ended",
    "check_hap",
    "check_maxmem",
    "check_memory",
    "check_name",
    "check_note",
    "check_note_key",
    "check_paused",
    "check_pool",
    "check_scheduler",
    "check_size",
    "check_soft_reset",
    "check_suspended",
    "check_sysrq_key",
    "check_vcpu",
    "check_vcpus",
    "file_missing",
    "gone",
    "maxmem_kib",
    "memory_kib",
    "name_taken",
    "no_bridge",
    "not_enough_memory",
    "uuid_taken",
    "videoram_mib",
]

E = TypeVar("E", bound=OperationFailed)

SCHEDULER_PARAMETERS: Final[dict[str, frozenset[str]]] = {
    "credit": frozenset({"weight", "cap"}),
    "credit2": frozenset({"weight", "cap"}),
    "rtds": frozenset({"period", "budget", "extratime"}),
}
"""The parameters that each scheduler has for domains. Schedulers that are not listed have no parameters."""

_CANNOT_ANSWER: Final = {
    DomainState.PAUSED: "is paused and cannot answer: unpause it first",
    DomainState.SHUTDOWN: "has already shut down: destroy it",
    DomainState.CRASHED: "has crashed: destroy it",
}

_NOTE_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
"""Valid keys; libxl makes them part of a file name."""

_OTHERS_NOTES: Final = {
    "libxl-json": "libxl",
    "domain-userdata-lock": "libxl",
    "xl": "xl",
    "libvirt-xml": "libvirt",
}


def _refusal(cls: type[E], message: str, verb: str, domid: int) -> E:
    return cls(message, operation=verb, domain=domid, domid=domid)


# The domain


def gone(verb: str, domid: int, uuid: UUID, hint: str = "") -> DomainNotFound:
    """Return the exception for a domain that is gone."""
    message = f"there is no domain {domid} with the uuid {uuid}: it is gone{hint}"
    return _refusal(DomainNotFound, message, verb, domid)


def check_name(name: str) -> None:
    """Check the name of a domain.

    Raises:
        ValidationError: The name is not valid.
    """
    DomainConfig(name, kernel="/").validate()  # the model has the rules for names


def name_taken(operation: Operation[Any], other: int, name: str, code: int | None = None) -> DomainExists:
    """Return the exception for a name that another domain has."""
    message = f"domain {other} already has the name {name!r}: choose another name, or destroy or rename that domain"
    return describe(DomainExists, message, operation, code)


def name_being_made(operation: Operation[Any], name: str) -> DomainExists:
    """Return the exception for a name that this process gives to another domain at this moment."""
    message = f"another domain with the name {name!r} is being made: wait for that, or choose another name"
    return describe(DomainExists, message, operation)


def uuid_being_made(operation: Operation[Any], uuid: UUID) -> DomainExists:
    """Return the exception for a uuid that this process gives to another domain at this moment."""
    message = f"another domain with the uuid {uuid} is being made: wait for that, or leave the uuid out"
    return describe(DomainExists, message, operation)


def uuid_taken(operation: Operation[Any], other: DomainInfo) -> DomainExists:
    """Return the exception for a uuid that another domain has."""
    message = f"domain {other.domid} ({other.name}) already has the uuid {other.uuid}: "
    if operation.verb == "restore":  # the uuid is that of the file
        message += "destroy it, or restore with a configuration of another name, without the uuid"
    else:
        message += "leave the uuid out"
    error = describe(DomainExists, message, operation)
    error.domid = other.domid
    return error


# The domain's state


def check_answers(info: DomainInfo, verb: str) -> None:
    """Check that a guest can respond to a request such as shutdown or suspend.

    Raises:
        InvalidState: The domain is paused, or has ended.
    """
    if info.state not in _CANNOT_ANSWER:
        return
    problem = _CANNOT_ANSWER[info.state]
    if _is_suspended(info):
        problem = "is suspended: resume it first"
    elif info.state is DomainState.SHUTDOWN:
        problem += f" ({info.shutdown_reason!r})"
    raise _refusal(InvalidState, f"{info.name} {problem}", verb, info.domid)


def being_suspended(verb: str, domid: int, other: str) -> InvalidState:
    """Return the exception for a domain that another operation of this process, `other`, suspends or restarts."""
    does = "restarts" if other == "soft_reset" else "suspends"
    message = f"a {other} that this process has begun {does} the guest: wait until that has ended, or cancel it"
    return _refusal(InvalidState, message, verb, domid)


def check_paused(info: DomainInfo) -> None:
    """Check that a domain can be unpaused.

    Raises:
        InvalidState: The domain is not paused.
    """
    if info.state is not DomainState.PAUSED:
        raise _refusal(InvalidState, f"{info.name} is {info.state}, not paused", "unpause", info.domid)


def check_suspended(info: DomainInfo) -> None:
    """Check that a domain can be resumed.

    Raises:
        InvalidState: The domain is not suspended.
    """
    if not _is_suspended(info):
        raise _refusal(InvalidState, f"{info.name} is {info.state}, not suspended", "resume", info.domid)


def check_ended(info: DomainInfo, verb: str, ended: str = "ended") -> None:
    """Check that a guest has shut down or crashed.

    Args:
        info: The domain.
        verb: The verb, for the error.
        ended: The participle for the message, ``has not …``.

    Raises:
        InvalidState: The guest still runs, or is suspended and can be resumed.
    """
    if info.state not in ENDS or _is_suspended(info):
        condition = "suspended" if _is_suspended(info) else info.state
        raise _refusal(InvalidState, f"{info.name} has not {ended}: it is {condition}", verb, info.domid)


def check_soft_reset(info: DomainInfo, backend: str) -> None:
    """Check that a guest can be restarted in place, keeping its memory.

    Raises:
        UnsupportedFeature: libxl cannot soft-reset guests of this type.
        InvalidState: The guest has not shut down.
    """
    if info.type is not DomainType.HVM:
        message = f"soft_reset: {info.name} is a {info.type} guest, and libxl resets only HVM guests: destroy it"
        raise UnsupportedFeature(message, feature=Feature.SOFT_RESET.value, backend=backend)
    check_ended(info, "soft_reset", "shut down")


def _is_suspended(info: DomainInfo) -> bool:
    return info.shutdown_reason is ShutdownReason.SUSPEND


# Memory, vCPUs, CPUs


def memory_kib(memory: float) -> int:
    """Return an amount of memory in KiB.

    Raises:
        ValidationError: The amount is out of range, or not a number.
    """
    DomainConfig("domain", memory=memory)  # the model has the limits
    return mib_to_kib(memory)


def maxmem_kib(maxmem: float) -> int:
    """Return a memory limit in KiB; see `memory_kib`."""
    DomainConfig("domain", maxmem=maxmem)
    return mib_to_kib(maxmem)


def check_memory(
    domid: int, kib: int, *, most_kib: int | None = None, has_kib: int | None = None, free_kib: int | None = None
) -> None:
    """Check a new memory target for a domain.

    Args:
        domid: The domain.
        kib: The new target.
        most_kib: The domain's maxmem, if known.
        has_kib: The domain's current memory, if known.
        free_kib: The host's free memory, if known.

    Raises:
        InvalidArgument: The target is zero, or larger than maxmem.
        NotEnoughMemory: The host has too little free memory.
    """
    verb = "set_memory"
    if kib <= 0:
        raise _refusal(InvalidArgument, "a domain needs memory: the amount must be more than 0", verb, domid)
    if most_kib is not None and kib > most_kib:
        message = f"{_mib(kib)} is more than the domain's maxmem of {_mib(most_kib)}: raise it first, with set_maxmem"
        raise _refusal(InvalidArgument, message, verb, domid)
    if has_kib is not None and free_kib is not None and kib - has_kib > free_kib:
        message = f"needs {_mib(kib - has_kib)} more, and the host has {_mib(free_kib)} free: ask for less"
        raise _refusal(NotEnoughMemory, message, verb, domid)


def check_maxmem(domid: int, kib: int, has_kib: int) -> None:
    """Check a new maxmem for a domain.

    Raises:
        InvalidArgument: The domain has more memory than that.
    """
    if kib < has_kib:
        message = f"{_mib(kib)} is less than the {_mib(has_kib)} that the domain has: lower that first, with set_memory"
        raise _refusal(InvalidArgument, message, "set_maxmem", domid)


def not_enough_memory(
    operation: Operation[Any],
    needed_kib: int,
    free_kib: int,
    code: int | None = None,
    *,
    dom0_keeps_kib: int | None = None,
) -> NotEnoughMemory:
    """Return the exception for a domain that needs more memory than the host has free, and dom0 does not give it up."""
    remedy = "destroy a domain, or lower dom0's memory"
    if dom0_keeps_kib is not None:
        remedy = f"destroy a domain: dom0 cannot give up so much, it keeps {dom0_keeps_kib // 1024} MiB"
    message = (
        f"needs {needed_kib // 1024} MiB, and the host has {free_kib // 1024} MiB free: ask for less, or free some "
        f"({remedy})"
    )
    return describe(NotEnoughMemory, message, operation, code)


def check_vcpus(domid: int, vcpus: int, most: int | None) -> None:
    """Check a new number of vCPUs for a domain.

    Raises:
        InvalidArgument: The number is less than 1, or more than the domain's maxvcpus.
    """
    if vcpus < 1 or (most is not None and vcpus > most):
        limit = "or more" if most is None else f"to {most}, the maxvcpus that it was created with"
        message = f"vcpus={vcpus} is out of range: the domain can have 1 {limit}"
        raise _refusal(InvalidArgument, message, "set_vcpus", domid)


def check_affinity(domid: int, vcpu: int | None, most: int, *sets: CpuSet | None, force: bool = False) -> None:
    """Check the arguments of a change of CPU affinity.

    Args:
        domid: The domain.
        vcpu: The vCPU; None means all of them.
        most: The number of vCPUs that the domain has.
        sets: The CPU sets; None for a set that the caller did not give.
        force: Whether a pinning of the guest's own is to be undone.

    Raises:
        InvalidArgument: There is no such vCPU, no set was given, or all vCPUs are to be forced.
    """
    if vcpu is not None:
        check_vcpu(domid, vcpu, most, "pin_vcpu")
    elif force:
        message = "force is for a single vCPU: give its number"
        raise _refusal(InvalidArgument, message, "pin_vcpu", domid)
    if all(given is None for given in sets):
        raise _refusal(InvalidArgument, "give cpus, cpus_soft or both", "pin_vcpu", domid)


def check_vcpu(domid: int, vcpu: int, most: int, verb: str) -> None:
    """Check the number of a vCPU.

    Raises:
        InvalidArgument: The domain has no such vCPU.
    """
    if not 0 <= vcpu < most:
        message = f"there is no vCPU {vcpu}; the domain has 0 to {most - 1}"
        raise _refusal(InvalidArgument, message, verb, domid)


def check_cpus(domid: int, cpus: CpuSet, nodes: Mapping[int, Sequence[int]]) -> CpuSet:
    """Return the CPUs of the host that a set stands for.

    Raises:
        InvalidArgument: The host lacks one of the CPUs, or the set is empty.
    """
    try:
        return on_host(cpus, nodes)
    except ValueError as error:
        raise _refusal(InvalidArgument, str(error), "pin_vcpu", domid) from None


def check_scheduler(scheduler: Scheduler, kind: str, knows: Collection[str], backend: str) -> dict[str, Any]:
    """Return the scheduler parameters to set for a domain.

    Args:
        scheduler: The caller's parameters.
        kind: The scheduler of the domain's CPU pool.
        knows: The parameters that this scheduler has.
        backend: The backend's name, for errors.

    Raises:
        UnsupportedFeature: The CPU pool has another scheduler, or its scheduler lacks a parameter.
    """
    if scheduler.kind is not None and scheduler.kind != kind:
        message = f"the domain's CPU pool has the scheduler {kind}, not {scheduler.kind}"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    said = {name: value for name, value in scheduler.non_defaults() if name != "kind"}
    foreign = sorted(said.keys() - set(knows))
    if foreign:
        message = f"the domain's scheduler, {kind}, has no parameter {', '.join(foreign)}"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    return said


def _mib(kib: int) -> str:
    return f"{kib_to_mib(kib):g} MiB"


# Notes and keys


def check_note_key(verb: str, domid: int, key: str) -> None:
    """Check the key of a note.

    Raises:
        InvalidArgument: The key is not valid.
    """
    if not _NOTE_KEY.fullmatch(key):
        message = f"{key!r} is not a valid key: use 1 to 64 letters, digits, dots, dashes and underscores"
        raise _refusal(InvalidArgument, message, verb, domid)


def check_note(domid: int, key: str, data: bytes | None) -> None:
    """Check a note before it is stored; None removes the note.

    Raises:
        InvalidArgument: The key is not valid or belongs to a toolstack, or the note is empty.
    """
    verb = "set_userdata"
    check_note_key(verb, domid, key)
    if key in _OTHERS_NOTES:
        message = f"the note {key!r} belongs to {_OTHERS_NOTES[key]}: use a key that begins with your program's name"
        raise _refusal(InvalidArgument, message, verb, domid)
    if data is not None and not data:  # libxl would remove the note
        raise _refusal(InvalidArgument, "a note cannot be empty: None removes it", verb, domid)


def check_sysrq_key(domid: int, key: str) -> None:
    """Check a key of Linux's magic SysRq.

    Raises:
        InvalidArgument: The key is not one printable ASCII character.
    """
    if len(key) != 1 or not key.isascii() or not key.isprintable():
        message = f"{key!r} is not a SysRq key: use one letter or digit, such as 's' for sync"
        raise _refusal(InvalidArgument, message, "send_sysrq", domid)


# The host


def check_disc_can_change(verb: str, guest: DomainType, vdev: str, backend: str) -> None:
    """Check that a guest has CD-ROM drives with removable media.

    Raises:
        UnsupportedFeature: Guests of this type do not.
    """
    if guest is not DomainType.HVM:
        message = f"only HVM guests have drives whose disc can be changed: attach and detach {vdev} as a disk instead"
        raise UnsupportedFeature(message, feature=verb, backend=backend)


def check_disc(operation: Operation[Any], target: str) -> None:
    """Check that a path can be inserted into a drive: it must be an image or a block device.

    Raises:
        InvalidArgument: The path is a folder.
    """
    if os.path.isdir(target):
        message = f"{target} is a folder: use an image file, such as an .iso, or a block device"
        raise describe(InvalidArgument, message, operation)


def check_hap(config: DomainConfig, backend: str, *, has_shadow_paging: Callable[[], bool]) -> None:
    """Check that the host supports the kind of paging in a configuration.

    Raises:
        UnsupportedFeature: The domain needs shadow paging, and this Xen was built without it.
    """
    if config.hap is False and config.type is not DomainType.PV and not has_shadow_paging():
        message = "hap=0 needs shadow paging, and this Xen was built without it: leave hap out"
        raise UnsupportedFeature(message, feature="hap", backend=backend)


_MOST_VCPUS: Final = 128
"""vCPUs that an HVM or PVH guest can have (HVM_MAX_VCPUS, up to Xen 4.22)."""

_MOST_AT_FIRST: Final = 1024
"""vCPUs that libxl can set online in any guest when it creates it."""

_LEAST_MIB: Final = {DomainType.PV: 4, DomainType.PVH: 2, DomainType.HVM: 2}
"""Memory that a guest with the smallest kernel takes, on Xen 4.17 and 4.20. An HVM guest's kernel is hvmloader."""

_VIDEORAM: Final = {VgaInterfaceType.CIRRUS: 8, VgaInterfaceType.STD: 16, VgaInterfaceType.QXL: 128}
"""MiB of a guest's memory that libxl takes for the graphics card by default."""


def check_size(config: DomainConfig, backend: str) -> None:
    """Check that Xen can build a domain with so many vCPUs and so much memory; libxl would only say ERROR_FAIL.

    Args:
        config: A valid configuration that says how much memory the domain has.
        backend: What errors call the way to the host.

    Raises:
        UnsupportedFeature: It has more vCPUs than Xen gives to a guest of its type.
        ValidationError: It has too little memory, or memory that Xen does not build.
    """
    most = _MOST_AT_FIRST if config.type is DomainType.PV else _MOST_VCPUS
    vcpus = config.vcpus if config.type is DomainType.PV else config.effective_maxvcpus
    if vcpus > most:
        path = "maxvcpus" if config.type is not DomainType.PV and config.maxvcpus is not None else "vcpus"
        advice = ", and more with set_vcpus later, up to maxvcpus" if config.type is DomainType.PV else ""
        message = f"{path}={vcpus}: {config.type.upper()} guests can have {most} vCPUs at most: ask for {most}{advice}"
        raise UnsupportedFeature(message, feature=path, backend=backend)
    problem = _size_problem(config)
    if problem is not None:
        raise ValidationError(": ".join(problem), path=problem[0], problems=(": ".join(problem),))


def _size_problem(config: DomainConfig) -> tuple[str, str] | None:
    """Return what is wrong with the memory of a domain, and which setting says it."""
    path, mib, videoram = "memory", config.memory or 0, videoram_mib(config)
    if config.type is not DomainType.PV:  # all of its memory is laid out at first, though it may get less
        path, mib = ("memory" if config.maxmem is None else "maxmem"), config.effective_maxmem or 0
    least = _LEAST_MIB[config.type] + videoram
    if mib < least:
        share = f", {videoram:g} of them for the graphics card" if videoram else ""
        return path, f"{mib:g} MiB is too little; {config.type.upper()} guests need at least {least:g} MiB{share}"
    if mib % 1 and config.type is not DomainType.PV:
        advice = f"round it up to {math.ceil(mib)}"
        return path, f"{mib:g} is not a whole number of MiB, which {config.type.upper()} guests need: {advice}"
    return None


def videoram_mib(config: DomainConfig) -> float:
    """Return the memory of a domain's graphics card, in MiB: what is given or libxl's default, where it is known."""
    if config.type is not DomainType.HVM:
        return 0
    if config.videoram is not None:
        return config.videoram
    if config.device_model.version is DeviceModelVersion.QEMU_XEN_TRADITIONAL:
        return 0  # half of the others', or less
    return _VIDEORAM.get(config.vga or VgaInterfaceType.CIRRUS, 0)


def check_pool(config: DomainConfig, backend: str, *, scheduler: str, cpus: Collection[int]) -> None:
    """Check that a domain fits the CPU pool that it is to be in; libxl would only say ERROR_FAIL.

    Args:
        config: Its configuration.
        backend: What errors call the way to the host.
        scheduler: The pool's.
        cpus: The pool's.

    Raises:
        InvalidState: The pool has no CPUs.
        UnsupportedFeature: The pool has another scheduler.
        ValidationError: A vCPU is pinned to CPUs of which the pool has none.
    """
    if not cpus:
        message = f"the CPU pool {config.pool or config.poolid} has no CPUs: give it some first, with add_cpus"
        raise InvalidState(message, operation="create", domain=config.name)
    if config.scheduler.kind is not None and config.scheduler.kind != scheduler:
        wanted = f"scheduler.kind={config.scheduler.kind}"
        message = f"{wanted}: the domain's CPU pool has the scheduler {scheduler}: ask for that, or for another pool"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    pins = (config.cpus,) if isinstance(config.cpus, CpuSet) else config.cpus or ()
    for pin in pins:
        if not set(pin).intersection(cpus):
            why = (
                f"{pin}: the domain's CPU pool has none of them; it has" if set(pin) else "a vCPU needs at least one of"
            )
            problem = f"cpus: {why} {CpuSet(cpus)}"
            raise ValidationError(problem, path="cpus", problems=(problem,))


def file_missing(operation: Operation[Any], *paths: str, code: int | None = None) -> FileMissing:
    """Return the exception for files that are missing on the host."""
    error = describe(FileMissing, f"no such file on the host: {', '.join(paths)}", operation, code)
    error.filename = paths[0]
    return error


def no_bridge(operation: Operation[Any], bridge: str | None, code: int | None = None) -> NotFound:
    """Return the exception for a bridge that is missing on the host."""
    return describe(NotFound, missing_bridge(bridge), operation, code)
