"""The actions of a supervisor on a domain that has ended. Each runs on its own thread and keeps no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from pyxen._common.shield import logger
from pyxen._functions import check_answer
from pyxen._next_config import NEXT_CONFIG, config_of
from pyxen._printable import printable
from pyxen.config import ActionOnShutdown, DomainConfig
from pyxen.domain import Domain
from pyxen.errors import (
    ConfigError,
    ConnectFailed,
    DomainExists,
    DomainNotFound,
    Error,
    InvalidArgument,
    LockFailed,
    NotFound,
    NotReady,
    OperationCancelled,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.events import DomainShutdown
from pyxen.features import Feature
from pyxen.host import Host
from pyxen.records.info import ENDS, DomainInfo, DomainState, ShutdownReason
from pyxen.supervisor.core_dump import Dumper
from pyxen.supervisor.policy import DUMPS, RESTARTS, action_for, is_preserved, preserved_suffix

__all__ = [
    "_LOG",
    "Case",
    "Outcome",
    "Unremoved",
    "create_anew",
    "fulfil",
    "may_pass",
    "not_studied",
    "passes",
    "reason_of",
    "state_still",
    "study",
]

_LOG = logger("pyxen.supervisor")

_NAMES_TRIED = 100
_VERB = "supervise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a supervisor has done for one domain that ended."""

    domid: int
    """The domid that the domain had."""
    uuid: UUID
    """The domain's uuid. A restart keeps it."""
    name: str
    """The domain's name."""
    reason: ShutdownReason | int
    """Why the domain ended."""
    action: ActionOnShutdown
    """The action that its configuration sets for this reason; `preserve` if its configuration could not be read."""
    restarted: Domain | None = None
    """The restarted domain; None if it was not restarted."""
    preserved: Domain | None = None
    """The domain that ended, if it was kept."""
    core: str | None = None
    """The core dump's file, if one was written."""
    error: Exception | None = None
    """What went wrong, if anything. A domain may be restarted all the same, e.g. without a core dump."""
    config: DomainConfig | None = None
    """Configuration of a domain that could not be restarted. If the old domain is destroyed, this is the only copy."""


@dataclass(frozen=True, slots=True)
class Case:
    """A domain that has ended, and the action to take."""

    domain: Domain
    name: str
    reason: ShutdownReason | int
    action: ActionOnShutdown
    config: DomainConfig
    so_far: Outcome | None = None
    """The outcome of a first try whose removal has failed: its core dump, which is not written a second time."""

    def __str__(self) -> str:
        return f"{printable(self.name)} ({self.domain.domid})"

    def outcome(self) -> Outcome:
        """Return an outcome without results."""
        return Outcome(
            domid=self.domain.domid, uuid=self.domain.uuid, name=self.name, reason=self.reason, action=self.action
        )

    @property
    def dumps(self) -> bool:
        """Whether it begins with a core dump."""
        return self.action in DUMPS and self.so_far is None


class Unremoved(Exception):
    """The call failed that was to destroy a domain that ended, to set it aside, or to reset it.

    Whether it took effect all the same is not known.

    Attributes:
        error: Why.
        outcome: The outcome so far.
    """

    def __init__(self, error: Exception, outcome: Outcome) -> None:
        super().__init__(str(error))
        self.error = error
        self.outcome = outcome


def study(
    host: Host, domid: int, uuid: UUID, leave: Callable[[DomainInfo], str | None], known: DomainInfo | None
) -> Case | ShutdownReason | int | None:
    """Find out which action a domain needs.

    Args:
        host: The host.
        domid: The domain's number.
        uuid: Its uuid.
        leave: Returns why a domain is to be left alone.
        known: How it was when an earlier end of it was handled. If it has not run since, it is left alone.

    Returns:
        The case; the shutdown reason if the domain must be left alone; None if it still runs.

    Raises:
        DomainNotFound: It is gone.
    """
    domain, info = _found(host, domid, uuid)
    try:
        reason = info.shutdown_reason
        if info.state not in ENDS or reason is None:
            return None
        if known is not None and (info.cpu_time_ns, reason) == (known.cpu_time_ns, known.shutdown_reason):
            return reason
        if not _is_ours(info, leave):
            return reason
        config = domain.config()
        following = _of_next_start(host, domain, config)
    except DomainNotFound:
        raise
    except NotFound:
        _LOG.info("%s (%d): left alone, libxl keeps no configuration of it", info.name, domid)
        return reason
    action = action_for(config, reason)
    return None if action is None else Case(domain, config.name, reason, action, following)


def _found(host: Host, domid: int, uuid: UUID) -> tuple[Domain, DomainInfo]:
    """Return a domain and how it is.

    Raises:
        DomainNotFound: It is gone, or will be once Xen has freed its memory.
    """
    domain = host.domains.get(domid)
    if domain is None or domain.uuid != uuid:
        raise DomainNotFound("it is gone", domid=domid)
    info = domain.info()
    if info.state is DomainState.DYING:
        raise DomainNotFound("it is gone", domid=domid)
    return domain, info


def state_still(host: Host, domid: int, uuid: UUID) -> DomainState:
    """Return the state of a domain that had ended; after a destroy that failed, it may have no name.

    Raises:
        DomainNotFound: It is gone.
    """
    _, info = _found(host, domid, uuid)
    return info.state


def _of_next_start(host: Host, domain: Domain, config: DomainConfig) -> DomainConfig:
    """Return the configuration that `Domain.update_config` or ``xl config-update`` has set; else the current one."""
    note = domain.userdata(NEXT_CONFIG) if host.supports(Feature.USERDATA) else None
    if not note:
        return config
    try:
        following = config_of(note).replace(uuid=domain.uuid)
        following.validate()  # a create would refuse it when the domain is destroyed already
        return following
    except Error as error:
        _LOG.warning("%s (%d): its updated configuration is not valid: %s", config.name, domain.domid, error)
        return config


def _is_ours(info: DomainInfo, leave: Callable[[DomainInfo], str | None]) -> bool:
    if info.name is None:
        # xenstored may have lost it, or take this process for one that may not read it.
        _LOG.warning("domain %d: has ended and is left alone, it has no name in xenstore", info.domid)
        return False
    if is_preserved(info.name):
        _LOG.info("%s (%d): left alone, its name is that of a preserved domain", info.name, info.domid)
        return False
    other = _watcher(info, leave)
    if other is not None:
        _LOG.info("%s (%d): left alone, it is supervised by %s", info.name, info.domid, other)
    return other is None


def _watcher(info: DomainInfo, leave: Callable[[DomainInfo], str | None]) -> str | None:
    """Return who supervises a domain already; None if nobody does.

    Raises:
        InvalidArgument: The user's function does not say.
    """
    other: object = leave(info)
    if other is None or isinstance(other, str):
        return other
    check_answer(other, "leave", _VERB)
    given = type(other).__name__
    message = f"leave returned an object of type {given}: return a text that says why a domain is left alone, or None"
    raise InvalidArgument(message, operation=_VERB)


def fulfil(case: Case, host: Host, dumper: Dumper, note: Callable[[Outcome], None]) -> Outcome:
    """Take the action of a case. If a create fails, its error and the configuration are in the outcome.

    Args:
        case: The case.
        host: The host.
        dumper: Writes core dumps.
        note: Called with the outcome so far before the domain is removed. From then on, only the case may have its
            configuration.

    Raises:
        DomainNotFound: The domain is gone. It is not restarted.
        Unremoved: The call failed that was to destroy the domain, to set it aside, or to reset it.
        OperationCancelled: The core dump was given up, because the supervisor was stopped.
    """
    outcome = case.so_far or case.outcome()
    action = case.action
    if action is ActionOnShutdown.PRESERVE:
        return replace(outcome, preserved=case.domain)
    if case.dumps:
        outcome = _dump(case, outcome, dumper)
    note(outcome)
    try:
        if action is ActionOnShutdown.SOFT_RESET:
            return _soft_reset(case, outcome)
        if action is ActionOnShutdown.RESTART_RENAME:
            outcome = replace(outcome, preserved=_set_aside(case))
        else:
            case.domain.destroy()
    except DomainNotFound:
        raise
    except Exception as error:  # also if the host is closed meanwhile: what a destroy had begun is not undone
        raise Unremoved(error, outcome) from error
    return create_anew(case, outcome, host)


def _soft_reset(case: Case, outcome: Outcome) -> Outcome:
    try:
        case.domain.soft_reset()
    except UnsupportedFeature as error:
        _LOG.error("%s: no soft reset, preserved as it is: %s", case, error)
        return replace(outcome, preserved=case.domain, error=error)
    return replace(outcome, restarted=case.domain)


def _dump(case: Case, outcome: Outcome, dumper: Dumper) -> Outcome:
    try:
        core = dumper.dump(case.domain, case.name)
    except OperationCancelled:  # the next supervisor starts over
        raise
    except Exception as error:  # noqa: BLE001 (it is in the outcome)
        # Like xl: a failed dump must not prevent the restart of a domain that people wait for.
        _LOG.error("%s: no core dump: %s", case, error)
        return replace(outcome, error=error)
    _LOG.info("%s: core dump in %s", case, core)
    return replace(outcome, core=core)


def _set_aside(case: Case) -> Domain:
    now = datetime.now(UTC)
    for attempt in range(_NAMES_TRIED):
        suffix = preserved_suffix(now, attempt)
        try:
            preserved = case.domain.preserve(suffix)
        except DomainExists:
            continue
        _LOG.info("%s: preserved as %s%s", case, case.name, suffix)
        return preserved
    return case.domain.preserve(preserved_suffix(now, _NAMES_TRIED))


def _found_aside(case: Case, host: Host) -> Domain | None:
    """Return the domain that was set aside by a call that failed; None if it is not there any more."""
    found = host.domains.get(case.domain.domid)
    return found if found is not None and is_preserved(found.name or "") else None


def create_anew(case: Case, outcome: Outcome, host: Host, before: Exception | None = None) -> Outcome:
    """Create a domain again after it was destroyed or preserved, if its action is one of `RESTARTS`.

    Args:
        case: The case.
        outcome: The outcome so far.
        host: The host.
        before: The error of the last try.
    """
    if case.action not in RESTARTS:
        return outcome
    try:
        if case.action is ActionOnShutdown.RESTART_RENAME and outcome.preserved is None:
            outcome = replace(outcome, preserved=_found_aside(case, host))
        return _created(case, outcome, host, before)
    except Exception as error:  # noqa: BLE001 (the caller gets every error)
        return replace(outcome, error=error, config=case.config)


def _created(case: Case, outcome: Outcome, host: Host, before: Exception | None) -> Outcome:
    try:
        return replace(outcome, restarted=host.create(case.config))
    except DomainExists as error:
        made = host.domains.get(case.domain.uuid)
        if made is not None and made.domid != case.domain.domid:
            return replace(outcome, restarted=_made_before(case, host, made, before, error))
        if case.config.name == case.name:
            raise
        _LOG.warning("%s: keeps its name, without that of its updated configuration: %s", case, error)
        return replace(outcome, restarted=host.create(case.config.replace(name=case.name)), error=error)


def _made_before(case: Case, host: Host, made: Domain, before: Exception | None, error: DomainExists) -> Domain:
    """Return the domain that an earlier create has made, although its call failed; or a new one, if that is half made.

    Raises:
        DomainExists: It is paused, and no error of an earlier create names it: someone else is making it.
    """
    state = made.info().state
    if state not in {DomainState.PAUSED, DomainState.DYING}:
        _LOG.info("%s: the call that created it failed, but it is there", case)
        return made
    if not isinstance(before, OperationFailed) or before.domid != made.domid:
        raise error
    made.destroy()
    return host.create(case.config)


def reason_of(end: DomainInfo | DomainShutdown) -> ShutdownReason | int:
    """Return why a domain has ended."""
    if isinstance(end, DomainShutdown):
        return end.reason
    return ShutdownReason.POWEROFF if end.shutdown_reason is None else end.shutdown_reason


def not_studied(end: DomainInfo | DomainShutdown, error: Exception) -> Outcome:
    """Return the outcome for a domain that stays as it is, since it cannot be found out what it needs."""
    return Outcome(
        domid=end.domid,
        uuid=end.uuid,
        name=end.name or "",
        reason=reason_of(end),
        action=ActionOnShutdown.PRESERVE,
        preserved=end.domain,
        error=error,
    )


def passes(error: BaseException) -> bool:
    """Tell whether an error is transient and not the domain's fault: the action is then retried until it succeeds."""
    return isinstance(error, ConnectFailed | LockFailed | NotReady)


def may_pass(error: BaseException) -> bool:
    """Tell whether what failed with this error may succeed later, e.g. a create once memory is free again."""
    if isinstance(error, InvalidArgument) and error.operation == _VERB:  # a function of the user's gave it
        return False
    return isinstance(error, Error | OSError) and not isinstance(error, ConfigError | UnsupportedFeature | DomainExists)
