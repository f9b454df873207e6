"""Domains that start and stop with their host, as the xendomains script has them.

`start_all` restores what was saved and creates what is in ``/etc/xen/auto``; `stop_all` migrates, saves or shuts down.
Neither stops at a failure: each returns what became of every domain. Both run in dom0, whose files they use.
`pyxen.aio.autostart` has the same for asyncio.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from pyxen import xlcfg
from pyxen._autostart_files import FAILURES, auto_names, check_parallel, files_in, is_saved, make_folder
from pyxen._common.ready_names import is_ready_name
from pyxen._common.shortage import submitted
from pyxen._durations import LONGEST_WAIT, timeout_of
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, Error, OperationFailed
from pyxen.host import Host
from pyxen.operation import check_may_wait
from pyxen.records.autostart import StartAction, Started, StopAction, Stopped
from pyxen.records.info import ENDS
from pyxen.xendomains import XendomainsSettings

__all__ = ["StartAction", "Started", "StopAction", "Stopped", "XendomainsSettings", "start_all", "stop_all"]


def start_all(
    host: Host, settings: XendomainsSettings | None = None, *, timeout: float | None = None
) -> tuple[Started[Domain], ...]:
    """Start the domains that start with the host, as ``xendomains start``: one after the other, by their files' names.

    Saved domains are restored first. Then the configurations in ``auto`` are created, but not those of domains that run
    already, or are saved and could not be restored.

    Args:
        host: The host.
        settings: The settings; by default those of the file, see `XendomainsSettings.load`.
        timeout: Seconds for each restore and create. None waits as long as libxl does.

    Returns:
        What was done with each file, in order.

    Raises:
        FileMissing: No settings are given, and the host has no file with them.
        InvalidArgument: `timeout` is no number of seconds.
        ParseError: That file is not valid.
    """
    timeout = timeout_of(timeout, operation="start_all")
    settings = XendomainsSettings.load() if settings is None else settings
    done: list[Started[Domain]] = []
    saved = [path for path in files_in(settings.save) if is_saved(path)]
    if settings.restore:
        done += [_restore(host, path, timeout) for path in saved]
    left = {os.path.basename(path) for path in saved if os.path.exists(path)}
    last = False
    for path in files_in(settings.auto):
        if last:
            time.sleep(min(settings.create_delay_s, LONGEST_WAIT))
        started = _create(host, path, left, timeout)
        last = started.action is StartAction.CREATED
        done.append(started)
    return tuple(done)


def _restore(host: Host, path: str, timeout: float | None) -> Started[Domain]:
    try:
        domain = host.restore(path, timeout=timeout)
    except FAILURES as error:
        return Started(path, StartAction.FAILED, os.path.basename(path), error=error)
    try:
        os.unlink(path)
    except OSError as error:  # restored all the same, but another start would do it again
        return Started(path, StartAction.RESTORED, _name(domain), domain, error)
    return Started(path, StartAction.RESTORED, _name(domain), domain)


def _name(domain: Domain) -> str | None:
    with contextlib.suppress(Error):
        return domain.info().name
    return domain.name


def _create(host: Host, path: str, saved: set[str], timeout: float | None) -> Started[Domain]:
    try:
        config = xlcfg.load(path)
        there = host.domains.get(config.name)
        if there is not None:
            return Started(path, StartAction.RUNNING, config.name, there)
        if config.name in saved or os.path.basename(path) in saved:
            return Started(path, StartAction.SKIPPED, config.name)
    except FAILURES as error:
        return Started(path, StartAction.FAILED, error=error)
    try:
        return Started(path, StartAction.CREATED, config.name, host.create(config, timeout=timeout))
    except FAILURES as error:
        return Started(path, StartAction.FAILED, config.name, error=error)


def stop_all(host: Host, settings: XendomainsSettings | None = None, *, parallel: int = 4) -> tuple[Stopped, ...]:
    """Stop the guests of the host, as ``xendomains stop``: migrate them, else save them, else shut them down.

    dom0, stub domains, the domain of xenstored and the guests that a `Pool` keeps ready are left. Each step has the
    time that the settings say.

    Args:
        host: The host.
        settings: The settings; by default those of the file, see `XendomainsSettings.load`.
        parallel: How many domains to stop at the same time; xendomains stops one after the other.

    Returns:
        What was done with each domain, by domid.

    Raises:
        FileMissing: No settings are given, and the host has no file with them.
        InvalidArgument: `parallel` is not a whole number, or is below 1.
        OperationFailed: The host does not list its domains.
    """
    check_parallel(parallel)
    check_may_wait("stop_all")
    settings = XendomainsSettings.load() if settings is None else settings
    guests = _guests(host)
    names = set(auto_names(settings.auto)) if settings.auto_only else {domain.name for domain in guests}
    done: dict[int, Stopped] = {}

    def stop(domain: Domain) -> Stopped:
        if domain.name not in names:
            return Stopped(domain.name, domain.domid, StopAction.LEFT)
        return _stop(domain, settings)

    def shut_down(domain: Domain) -> Stopped:
        return _shut_down(domain, done[domain.domid], settings.shutdown_all_waits, settings.stop_timeout_s)

    done.update(_each(stop, guests, parallel))
    if settings.shutdown_all:
        again = {StopAction.LEFT, StopAction.FAILED}
        done.update(_each(shut_down, [one for one in guests if done[one.domid].action in again], parallel))
    return tuple(done[domid] for domid in sorted(done))


def _guests(host: Host) -> list[Domain]:
    """Return the guests without those that pools keep ready."""
    return [domain for domain in host.guests if not is_ready_name(domain.name)]


def _each(work: Callable[[Domain], Stopped], domains: Sequence[Domain], parallel: int) -> Iterator[tuple[int, Stopped]]:
    """Do something with several domains at once."""
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="pyxen-stop")

    def begun(domain: Domain) -> Callable[[], Stopped]:
        try:
            return submitted(pool, partial(work, domain), OperationFailed, "cannot start a thread").result
        except OperationFailed:  # all guests must stop: one after the other, if need be
            return partial(work, domain)

    try:
        waiting = [begun(domain) for domain in domains]
        yield from [(one.domid, stopped()) for one, stopped in zip(domains, waiting, strict=True)]
    finally:
        pool.shutdown(cancel_futures=True)


def _stop(domain: Domain, settings: XendomainsSettings) -> Stopped:
    errors: list[Exception] = []
    stopped = Stopped(domain.name, domain.domid, StopAction.LEFT)
    for key in settings.sysrq:
        _tried(lambda key=key: domain.send_sysrq(key), errors)  # type: ignore[misc]  # mypy infers no default
        time.sleep(min(settings.sysrq_delay_s, LONGEST_WAIT))
    timeout = settings.stop_timeout_s
    migrate, folder = settings.migrate, settings.save
    if migrate is not None and _tried(lambda: domain.migrate(migrate, timeout=timeout), errors):
        return replace(stopped, action=StopAction.MIGRATED, errors=tuple(errors))
    if folder is not None:
        path = os.path.join(folder, domain.name or "")
        if _tried(lambda: _save(domain, folder, path, timeout), errors):
            return replace(stopped, action=StopAction.SAVED, path=path, errors=tuple(errors))
    if not settings.shutdown:
        action = StopAction.FAILED if errors else StopAction.LEFT
        return replace(stopped, action=action, errors=tuple(errors))
    return _shut_down(domain, replace(stopped, errors=tuple(errors)), settings.shutdown_waits, timeout)


def _tried(call: Callable[[], object], errors: list[Exception]) -> bool:
    try:
        call()
    except FAILURES as error:
        errors.append(error)
        return False
    return True


def _save(domain: Domain, folder: str, path: str, timeout: float | None) -> None:
    make_folder(domain.name, folder)
    domain.save(path, timeout=timeout)


def _shut_down(domain: Domain, before: Stopped, waits: bool, timeout: float | None) -> Stopped:
    """Ask a domain to shut down. One that has gone, or has ended by itself, has done what it was asked for."""
    errors = list(before.errors)
    try:
        if domain.info().state not in ENDS:
            domain.shutdown(wait=waits, timeout=timeout)
            if not waits:
                return replace(before, action=StopAction.ASKED)
    except DomainNotFound:
        pass
    except FAILURES as error:
        return replace(before, action=StopAction.FAILED, errors=(*errors, error))
    return replace(before, action=StopAction.SHUT_DOWN)
