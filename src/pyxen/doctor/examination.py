"""The examination of a host: all subjects, each within a bound of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Final, TypeVar

from pyxen._common.shortage import shortage
from pyxen._durations import LONGEST_WAIT, duration
from pyxen.doctor.boot import boot
from pyxen.doctor.daemons import daemons
from pyxen.doctor.disks import disks
from pyxen.doctor.extension import extension
from pyxen.doctor.facts import Facts, ask_host, look
from pyxen.doctor.hypervisor import devices, hypervisor
from pyxen.doctor.memory import memory
from pyxen.doctor.network import network
from pyxen.doctor.others import others
from pyxen.doctor.processors import processors
from pyxen.doctor.report import Finding, Report, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.doctor.toolstack import toolstack
from pyxen.errors import Error, InvalidArgument, OperationFailed

__all__ = ["examine"]

T = TypeVar("T")
_Subject = Callable[[Surroundings, Facts], Iterator[Finding]]

_FIRST: Final[tuple[_Subject, ...]] = (hypervisor, devices, extension, daemons)
"""The subjects that show whether Xen can be asked."""

_SECOND: Final[tuple[_Subject, ...]] = (processors, memory, network, disks, toolstack, boot, others)

_AT_MOST: Final = 40.0
"""Seconds for a subject. Each program has a smaller bound; this one is for disks and daemons that hang."""


def examine(surroundings: Surroundings | None = None, *, timeout: float = _AT_MOST) -> Report:
    """Examine what this machine has and lacks to run domains, and what to do about it.

    It changes nothing, works for any user, with Xen or without it, and always ends: what does not answer in time is
    reported as such. It raises nothing for what it meets on the machine.

    Args:
        surroundings: The machine; by default this one. Tests can give a folder with what they want to see.
        timeout: Seconds for each of two groups of subjects, which are examined at the same time, and as many for
            Xen's own answer.

    Raises:
        InvalidArgument: `timeout` is not valid, or is 0.
    """
    timeout = min(duration(timeout, "timeout", operation="examine"), LONGEST_WAIT)
    if not timeout:
        raise InvalidArgument("timeout=0 is out of range: give seconds above 0", operation="examine")
    around = Surroundings() if surroundings is None else surroundings
    seen = _within(timeout, [lambda: look(around)])[0]
    facts = seen if isinstance(seen, Facts) else Facts()
    findings = [_not_made("facts", seen)] if isinstance(seen, Error) else []
    findings += _all(_FIRST, around, facts, timeout)
    if facts.is_dom0 and facts.privileged and all(each.severity is not Severity.ERROR for each in findings):
        answer = _within(timeout, [lambda: ask_host(around)])[0]
        if isinstance(answer, tuple):
            facts = replace(facts, host=answer[0], dom0=answer[1])
        elif around.connect is not None:
            said = "Xen does not answer." if answer is None else f"Xen cannot be asked: {answer}"
            findings.append(Finding("host", Severity.ERROR, said, "Look at xl dmesg and at /var/log/xen."))
    findings += _all(_SECOND, around, facts, timeout)
    return Report(tuple(findings), tuple(_works(findings, facts)))


def _all(subjects: tuple[_Subject, ...], around: Surroundings, facts: Facts, timeout: float) -> list[Finding]:
    """Examine subjects at the same time."""

    def examined(subject: _Subject) -> Callable[[], list[Finding]]:
        return lambda: list(subject(around, facts))

    found: list[Finding] = []
    answers = _within(timeout, [examined(subject) for subject in subjects])
    for subject, answer in zip(subjects, answers, strict=True):
        name = getattr(subject, "__name__", "subject")
        if isinstance(answer, list):
            found += answer
        elif answer is None:
            message = f"The examination of {name} has not ended after {timeout:g} s."
            remedy = "Look whether a disk, a network file system or a daemon hangs."
            found.append(Finding(name, Severity.WARNING, message, remedy))
        elif isinstance(answer, Error):
            found.append(_not_made(name, answer))
        else:
            message = f"The examination of {name} failed: {type(answer).__name__}: {answer}"
            found.append(Finding(name, Severity.WARNING, message, "This is a fault of pyxen: please report it."))
    return found


def _not_made(name: str, error: Error) -> Finding:
    message = f"The examination of {name} was not made: {error}"
    return Finding(name, Severity.WARNING, message, "Examine again, with what the error says.")


def _within(timeout: float, calls: list[Callable[[], T]]) -> list[T | Exception | None]:
    """Return the results of calls, each made in a thread of its own; None for those that do not end in time.

    A call that no thread can be started for has an `OperationFailed` as its result.
    """
    results: list[T | Exception | None] = [None] * len(calls)

    def make(place: int) -> None:
        try:
            results[place] = calls[place]()
        except Exception as error:  # noqa: BLE001 (a host may be odd in any way, and is to be reported)
            results[place] = error

    threads = [
        threading.Thread(target=make, args=[place], name="pyxen-doctor", daemon=True) for place in range(len(calls))
    ]
    deadline = time.monotonic() + timeout
    started = []
    for place, thread in enumerate(threads):
        try:
            with shortage(OperationFailed, "cannot start a thread"):
                thread.start()
            started.append(thread)
        except OperationFailed as error:
            results[place] = error
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(results)


def _works(findings: list[Finding], facts: Facts) -> Iterator[str]:
    """Yield what works on this machine."""
    wrong = any(each.severity is Severity.ERROR for each in findings)
    if facts.is_dom0 and facts.privileged and not wrong:
        yield "domains of this host: pyxen list, pyxen.connect()"
    yield "configurations: pyxen lint, pyxen convert, pyxen.xlcfg, pyxen.libvirtxml"
    yield "a simulated host: pyxen --uri memory:///demo list, and pyxen.testing"
    if find_spec("libvirt") is not None:
        yield "other hosts, through libvirt: pyxen --uri xen+ssh://root@HOST/system list"
    else:
        yield "other hosts, through libvirt, after pip install 'pyxen[libvirt]'"
