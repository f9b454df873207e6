"""Domains that start and stop with their host, as the xendomains script has them: `pyxen.autostart`, awaited.

If a task is cancelled, the operation that runs is undone; what was done before stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from pyxen import xlcfg
from pyxen._autostart_files import FAILURES, auto_names, check_parallel, files_in, is_saved, make_folder
from pyxen._common.ready_names import is_ready_name
from pyxen._durations import timeout_of
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.errors import DomainNotFound, Error
from pyxen.records.autostart import StartAction, Started, StopAction, Stopped
from pyxen.records.info import ENDS
from pyxen.xendomains import XendomainsSettings

__all__ = ["StartAction", "Started", "StopAction", "Stopped", "XendomainsSettings", "start_all", "stop_all"]


async def start_all(
    host: Host, settings: XendomainsSettings | None = None, *, timeout: float | None = None
) -> tuple[Started[Domain], ...]:
    """Start the domains that start with the host; see `pyxen.autostart.start_all`."""
    timeout = timeout_of(timeout, operation="start_all")
    if settings is None:
        settings = await asyncio.to_thread(XendomainsSettings.load)
    done: list[Started[Domain]] = []
    saved, configs = await asyncio.to_thread(_files, settings)
    if settings.restore:
        done += [await _restore(host, path, timeout) for path in saved]
    left = await asyncio.to_thread(_names_of, saved)
    last = False
    for path in configs:
        if last:
            await asyncio.sleep(settings.create_delay_s)
        started = await _create(host, path, left, timeout)
        last = started.action is StartAction.CREATED
        done.append(started)
    return tuple(done)


def _files(settings: XendomainsSettings) -> tuple[list[str], list[str]]:
    """Return the files of saved domains, and those with configurations."""
    return [path for path in files_in(settings.save) if is_saved(path)], files_in(settings.auto)


def _names_of(paths: Sequence[str]) -> set[str]:
    """Return the names of files that are still there."""
    return {os.path.basename(path) for path in paths if os.path.exists(path)}


async def _restore(host: Host, path: str, timeout: float | None) -> Started[Domain]:
    try:
        domain = await host.restore(path, timeout=timeout)
    except FAILURES as error:
        return Started(path, StartAction.FAILED, os.path.basename(path), error=error)
    try:
        await asyncio.to_thread(os.unlink, path)
    except OSError as error:  # restored all the same, but another start would do it again
        return Started(path, StartAction.RESTORED, await _name(domain), domain, error)
    return Started(path, StartAction.RESTORED, await _name(domain), domain)


async def _name(domain: Domain) -> str | None:
    with contextlib.suppress(Error):
        return (await domain.info()).name
    return domain.name


async def _create(host: Host, path: str, saved: set[str], timeout: float | None) -> Started[Domain]:
    try:
        config = await asyncio.to_thread(xlcfg.load, path)
        there = await host.domains.get(config.name)
        if there is not None:
            return Started(path, StartAction.RUNNING, config.name, there)
        if config.name in saved or os.path.basename(path) in saved:
            return Started(path, StartAction.SKIPPED, config.name)
    except FAILURES as error:
        return Started(path, StartAction.FAILED, error=error)
    try:
        return Started(path, StartAction.CREATED, config.name, await host.create(config, timeout=timeout))
    except FAILURES as error:
        return Started(path, StartAction.FAILED, config.name, error=error)


async def stop_all(host: Host, settings: XendomainsSettings | None = None, *, parallel: int = 4) -> tuple[Stopped, ...]:
    """Stop the guests of the host; see `pyxen.autostart.stop_all`."""
    check_parallel(parallel)
    if settings is None:
        settings = await asyncio.to_thread(XendomainsSettings.load)
    wanted = settings
    guests = await _guests(host)
    names = {domain.name for domain in guests}
    if wanted.auto_only:
        names = await asyncio.to_thread(lambda: {*auto_names(wanted.auto)})
    done: dict[int, Stopped] = {}

    async def stop(domain: Domain) -> Stopped:
        if domain.name not in names:
            return Stopped(domain.name, domain.domid, StopAction.LEFT)
        return await _stop(domain, wanted)

    async def shut_down(domain: Domain) -> Stopped:
        return await _shut_down(domain, done[domain.domid], wanted.shutdown_all_waits, wanted.stop_timeout_s)

    done |= await _each(stop, guests, parallel)
    if settings.shutdown_all:
        again = {StopAction.LEFT, StopAction.FAILED}
        done |= await _each(shut_down, [one for one in guests if done[one.domid].action in again], parallel)
    return tuple(done[domid] for domid in sorted(done))


async def _guests(host: Host) -> list[Domain]:
    """Return the guests without those that pools keep ready."""
    return [one async for one in host.guests if not is_ready_name(one.name)]


async def _each(
    work: Callable[[Domain], Awaitable[Stopped]], domains: Sequence[Domain], parallel: int
) -> dict[int, Stopped]:
    """Do something with several domains at once."""
    places = asyncio.Semaphore(parallel)

    async def in_turn(domain: Domain) -> Stopped:
        async with places:
            return await work(domain)

    async with asyncio.TaskGroup() as group:
        tasks = {domain.domid: group.create_task(in_turn(domain)) for domain in domains}
    return {domid: task.result() for domid, task in tasks.items()}


async def _stop(domain: Domain, settings: XendomainsSettings) -> Stopped:
    errors: list[Exception] = []
    stopped = Stopped(domain.name, domain.domid, StopAction.LEFT)
    for key in settings.sysrq:
        await _tried(domain.send_sysrq(key), errors)
        await asyncio.sleep(settings.sysrq_delay_s)
    timeout = settings.stop_timeout_s
    migrate, folder = settings.migrate, settings.save
    if migrate is not None and await _tried(domain.migrate(migrate, timeout=timeout), errors):
        return replace(stopped, action=StopAction.MIGRATED, errors=tuple(errors))
    if folder is not None:
        path = os.path.join(folder, domain.name or "")
        if await _tried(_save(domain, folder, path, timeout), errors):
            return replace(stopped, action=StopAction.SAVED, path=path, errors=tuple(errors))
    if not settings.shutdown:
        action = StopAction.FAILED if errors else StopAction.LEFT
        return replace(stopped, action=action, errors=tuple(errors))
    return await _shut_down(domain, replace(stopped, errors=tuple(errors)), settings.shutdown_waits, timeout)


async def _tried(call: Awaitable[object], errors: list[Exception]) -> bool:
    try:
        await call
    except FAILURES as error:
        errors.append(error)
        return False
    return True


async def _save(domain: Domain, folder: str, path: str, timeout: float | None) -> None:
    await asyncio.to_thread(make_folder, domain.name, folder)
    await domain.save(path, timeout=timeout)


async def _shut_down(domain: Domain, before: Stopped, waits: bool, timeout: float | None) -> Stopped:
    """Ask a domain to shut down. One that has gone, or has ended by itself, has done what it was asked for."""
    errors = list(before.errors)
    try:
        if (await domain.info()).state not in ENDS:
            await domain.shutdown(wait=waits, timeout=timeout)
            if not waits:
                return replace(before, action=StopAction.ASKED)
    except DomainNotFound:
        pass
    except FAILURES as error:
        return replace(before, action=StopAction.FAILED, errors=(*errors, error))
    return replace(before, action=StopAction.SHUT_DOWN)
