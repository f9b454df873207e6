"""The plan that brings a running domain to a configuration, and its result, for `Host.apply`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal

from pyxen._common.device_kinds import check_hotplug
from pyxen._placement import Placement, VcpuPin
from pyxen.backends.base import Backend
from pyxen.config import ConfigDiff, Device, DeviceChange, Disk, DomainConfig, DomainType, Scheduler, SettingChange
from pyxen.config.device_table import KINDS
from pyxen.errors import (
    ApplyFailed,
    ConfigError,
    DomainExists,
    Error,
    InvalidState,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.losses import shown
from pyxen.operation import Operation
from pyxen.records.base import Domain_co
from pyxen.records.info import ENDS, DomainInfo, DomainState, ShutdownReason

if TYPE_CHECKING:
    from pyxen.begin import DomainOperations

__all__ = ["Applied", "ApplyStep", "Plan", "begin_step", "failure", "plan_of", "running"]

StepVerb = Literal[
    "rename",
    "set_maxmem",
    "set_memory",
    "set_vcpus",
    "set_cpupool",
    "pin_vcpu",
    "set_scheduler",
    "detach",
    "attach",
    "insert_cdrom",
    "eject_cdrom",
]


@dataclass(frozen=True, slots=True)
class ApplyStep:
    """One change of a running domain that `Host.apply` makes: a verb of `Domain` with its argument.

    Attributes:
        verb: The name of the method of `Domain`.
        value: Its argument: a name, MiB, a number of vCPUs, a CPU pool, a `VcpuPin`, a `Scheduler`, or a device; of a
            CD-ROM drive, the drive with its new disc.
    """

    verb: StepVerb
    value: Any

    def __str__(self) -> str:
        return f"{self.verb} {self.value if isinstance(self.value, VcpuPin) else shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Applied(Generic[Domain_co]):
    """What `Host.apply` did, or would do.

    Attributes:
        created: Whether the domain was created.
        changed: The changes made, in order.
        needs_restart: The differences that are left: only a new create can bring them.
        domain: The domain's handle: a `pyxen.Domain`, or a `pyxen.aio.Domain` in asyncio. None after a dry run for a
            domain that is not there.
        reasons: Why each of these differences needs a restart, one line for each setting and device.
    """

    created: bool
    changed: tuple[ApplyStep, ...]
    needs_restart: ConfigDiff
    domain: Domain_co | Any = field(default=None, compare=False)  # Any: only after a dry run it may be None
    reasons: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that bring a running domain to a configuration.

    Attributes:
        steps: The steps, in order.
        needs_restart: What no step can bring.
        reasons: Why, one line for each setting and device.
    """

    steps: tuple[ApplyStep, ...]
    needs_restart: ConfigDiff
    reasons: tuple[str, ...] = ()


def running(backend: Backend, config: DomainConfig) -> DomainInfo | None:
    """Return the domain that a configuration is about: by its uuid, or if it has none, by its name.

    Returns:
        Its state; None if it is not there, or dying.

    Raises:
        DomainExists: Another domain has the name, and so it could not be created.
        InvalidState: It has ended, and is still there: it neither runs nor can be created.
    """
    found = _found(backend, config)
    if found is not None and found.state in ENDS:
        suspended = found.shutdown_reason is ShutdownReason.SUSPEND
        what = "is suspended: resume it, or" if suspended else f"is {found.state}:"
        message = f"the domain {what} destroy it, and apply creates it anew"
        raise InvalidState(message, operation="apply", domain=found.name, domid=found.domid)
    return found


def _found(backend: Backend, config: DomainConfig) -> DomainInfo | None:
    alive = [info for info in backend.list() if info.state is not DomainState.DYING]
    if config.uuid is None:
        return next((info for info in alive if info.name == config.name), None)
    found = next((info for info in alive if info.uuid == config.uuid), None)
    if found is None:
        taken = next((info for info in alive if info.name == config.name), None)
        if taken is not None:
            message = (
                f"another domain has this name, with the uuid {taken.uuid}: choose another name, "
                "or leave the uuid out to change that domain"
            )
            raise DomainExists(message, operation="apply", domain=config.name, domid=taken.domid)
    return found


def plan_of(now: DomainConfig, wanted: DomainConfig, placement: Placement | None = None) -> Plan:
    """Plan the least that brings a running domain to a configuration.

    Args:
        now: Its current configuration.
        wanted: The configuration.
        placement: Where it runs; None if that cannot be changed.
    """
    placement = placement or Placement(None, None, wanted, frozenset())
    found = now.diff(wanted)
    changes = {change.path: change for change in found.settings}
    steps = tuple(_settings(changes, now, placement))
    brought = {path for path in changes if _is_brought(path, changes, now) or placement.brings(path)}
    removed = tuple(device for device in found.removed if _is_hot(device, now.type))
    added = tuple(device for device in found.added if _is_hot(device, now.type))
    changed = tuple(change for change in found.changed if _is_disc(change, now.type) or _is_swappable(change, now.type))
    places = {kind.part: place for place, kind in enumerate(KINDS)}
    taken_out = sorted(removed, key=lambda device: places[type(device)], reverse=True)
    hardware: list[ApplyStep] = [ApplyStep("detach", device) for device in taken_out]
    for change in changed:
        hardware += _disc(change) if _is_disc(change, now.type) else _swap(change)
    hardware += [ApplyStep("eject_cdrom", drive) for drive in found.removed if _is_full_drive(drive, now.type)]
    hardware += [ApplyStep("attach", device) for device in added]
    left = ConfigDiff(
        tuple(change for change in found.settings if change.path not in brought),
        tuple(device for device in found.added if device not in added),
        tuple(device for device in found.removed if device not in removed),
        tuple(change for change in found.changed if change not in changed),
    )
    return Plan((*steps, *hardware), left, tuple(_reasons(left, now)))


_SCHEDULER: Final = "scheduler."


def _is_brought(path: str, changes: dict[str, SettingChange], now: DomainConfig) -> bool:
    """Tell whether a running domain can get another value of a setting."""
    if path == "vcpus":
        return bool(changes[path].after <= now.effective_maxvcpus)
    if path.startswith(_SCHEDULER):
        return path != "scheduler.kind" and changes[path].after is not None
    return path in ("name", "memory", "maxmem")


def _settings(changes: dict[str, SettingChange], now: DomainConfig, placement: Placement) -> Iterator[ApplyStep]:
    if "name" in changes:
        yield ApplyStep("rename", changes["name"].after)
    memory = [ApplyStep("set_memory", changes["memory"].after)] if "memory" in changes else []
    maxmem = [ApplyStep("set_maxmem", changes["maxmem"].after)] if "maxmem" in changes else []
    grows = bool(maxmem) and (changes["maxmem"].before or 0) < changes["maxmem"].after
    yield from (*maxmem, *memory) if grows else (*memory, *maxmem)
    if "vcpus" in changes and _is_brought("vcpus", changes, now):
        yield ApplyStep("set_vcpus", changes["vcpus"].after)
    pool = placement.move()
    if pool is not None:
        yield ApplyStep("set_cpupool", pool)
    for pin in placement.pins(now, moves=pool is not None):
        yield ApplyStep("pin_vcpu", pin)
    shares = {
        path.removeprefix(_SCHEDULER): change.after
        for path, change in changes.items()
        if path.startswith(_SCHEDULER) and _is_brought(path, changes, now)
    }
    if shares:
        yield ApplyStep("set_scheduler", Scheduler(**shares))


def _is_hot(device: Device, guest: DomainType) -> bool:
    """Tell whether a device can be attached to a running domain, and detached."""
    return _why_not_hot(device, guest) is None


def _why_not_hot(device: Device, guest: DomainType) -> str | None:
    """Return why a device cannot be attached to a running domain, or detached; None if it can."""
    if isinstance(device, Disk) and device.cdrom and guest is DomainType.HVM:
        return "the drives of an HVM guest are QEMU's, which has those that it was started with; discs can be changed"
    try:
        check_hotplug(device, guest, "apply")
    except UnsupportedFeature as error:
        return error.message
    except ConfigError:  # it needs another device of the domain, which validation has seen
        return None
    return None


def _is_full_drive(device: Device, guest: DomainType) -> bool:
    """Tell whether a device is a drive that cannot go, but its disc can."""
    return guest is DomainType.HVM and isinstance(device, Disk) and bool(device.cdrom and device.target)


def _reasons(left: ConfigDiff, now: DomainConfig) -> Iterator[str]:
    """Yield why each difference needs a restart."""
    for change in left.settings:
        reason = _SETTINGS.get(change.path, "it is fixed when a domain is created")
        if change.path == "vcpus":
            reason = f"the domain can have {now.effective_maxvcpus} at most, as it was created"
        yield f"{change.path}: {reason}"
    for device in (*left.removed, *left.added):
        yield f"{shown(device)}: {_why_not_hot(device, now.type)}"
    for changed in left.changed:
        why = _why_not_hot(changed.before, now.type) or _why_not_hot(changed.after, now.type)
        yield f"{changed.path}: {why}"


_NOT_HERE: Final = "this backend cannot change it while the domain runs"
_SETTINGS: Final = {
    "cpus": _NOT_HERE,
    "cpus_soft": _NOT_HERE,
    "pool": _NOT_HERE,
    "poolid": _NOT_HERE,
    "maxvcpus": "Xen makes the vCPUs when it creates a domain",
    "scheduler.kind": "the scheduler is that of the domain's CPU pool",
}
"""Why settings need a restart."""


def _is_swappable(change: DeviceChange, guest: DomainType) -> bool:
    return _is_hot(change.before, guest) and _is_hot(change.after, guest)


def _is_disc(change: DeviceChange, guest: DomainType) -> bool:
    """Tell whether only the disc in a CD-ROM drive differs."""
    if not isinstance(change.after, Disk) or not isinstance(change.before, Disk) or guest is not DomainType.HVM:
        return False
    drives = change.before.cdrom and change.after.cdrom
    return drives and {setting.path.rpartition(".")[2] for setting in change.settings} <= {"target", "format"}


def _disc(change: DeviceChange) -> list[ApplyStep]:
    drive = change.after
    assert isinstance(drive, Disk)  # noqa: S101 (for mypy: see _is_disc)
    return [ApplyStep("insert_cdrom" if drive.target else "eject_cdrom", drive)]


def _swap(change: DeviceChange) -> list[ApplyStep]:
    """Replace a device by one with other settings, under the same names."""
    kind = next(kind for kind in KINDS if kind.part is type(change.after))
    names = {
        name: getattr(change.before, name)
        for alternative in kind.names
        for name in alternative
        if getattr(change.after, name) is None
    }
    return [ApplyStep("detach", change.before), ApplyStep("attach", change.after.replace(**names))]


def begin_step(step: ApplyStep, domain: DomainOperations[Any], timeout: float | None) -> Operation[Any]:
    """Begin a step.

    Args:
        step: The step.
        domain: The verbs of the domain.
        timeout: Seconds that are left for it; None if there is no deadline.
    """
    value = step.value
    simple: dict[StepVerb, Callable[[Any], Operation[Any]]] = {
        "rename": domain.rename,
        "set_maxmem": domain.set_maxmem,
        "set_memory": domain.set_memory,
        "set_vcpus": domain.set_vcpus,
        "set_cpupool": domain.set_cpupool,
        "set_scheduler": domain.set_scheduler,
    }
    if step.verb in simple:
        return simple[step.verb](value)
    match step.verb:
        case "pin_vcpu":
            return domain.pin_vcpu("all" if value.vcpu is None else value.vcpu, value.cpus, cpus_soft=value.cpus_soft)
        case "detach":
            return domain.detach(value, timeout=timeout)
        case "insert_cdrom":
            return domain.insert_cdrom(value.vdev, value.target, timeout=timeout)
        case "eject_cdrom":
            return domain.eject_cdrom(value.vdev, timeout=timeout)
    return domain.attach(value, timeout=timeout)


def failure(plan: Plan, place: int, error: Error, info: DomainInfo) -> ApplyFailed:
    """Return the exception for a step that failed.

    Args:
        plan: The plan.
        place: The place of the step in it.
        error: Why it failed.
        info: The domain.
    """
    step = plan.steps[place]
    what = f"{place} of {len(plan.steps)} steps were done; this one failed: {step}: {error.message}; "
    message = what + "apply it again to continue from there"
    return _failed(message, error, info, done=plan.steps[:place], failed=step, not_done=plan.steps[place + 1 :])


def not_kept(plan: Plan, error: Error, info: DomainInfo) -> ApplyFailed:
    """Return the exception for a domain that was changed, and whose configuration could not be kept."""
    message = f"all {len(plan.steps)} steps were done; the configuration could not be kept: {error.message}"
    return _failed(message, error, info, done=plan.steps)


def _failed(message: str, error: Error, info: DomainInfo, **steps: Any) -> ApplyFailed:
    return ApplyFailed(
        message,
        operation="apply",
        domain=info.name or info.domid,
        domid=info.domid,
        code=error.code if isinstance(error, OperationFailed) else None,
        log=error.log if isinstance(error, OperationFailed) else (),
        **steps,
    )
