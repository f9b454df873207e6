"""The operation of `Host.apply`: a thread that begins one step after the other and waits for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pyxen._common.own_thread import carry_out
from pyxen._common.pci_preconditions import is_symbolic, meant_by
from pyxen._placement import placement_of
from pyxen.applying import Applied, Plan, begin_step, failure, plan_of, running
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import ConfigDiff, DomainConfig
from pyxen.errors import Error, OperationCancelled
from pyxen.features import Feature, lacking
from pyxen.operation import Operation, describe

__all__ = ["begin_apply"]

T = TypeVar("T")


def begin_apply(
    backend: Backend,
    create: Callable[[DomainConfig, float | None], Operation[Any]],
    handle: Callable[[DomainRef, str | None], Any],
    config: DomainConfig,
    *,
    dry_run: bool,
    persistent: bool,
    timeout: float | None,
) -> Operation[Applied]:
    """Begin to apply a configuration.

    Args:
        backend: The host.
        create: Begins a create, with a timeout.
        handle: Returns the handle of a domain.
        config: The configuration, which is valid.
        dry_run: Change nothing.
        persistent: Keep the configuration, too.
        timeout: Seconds for all of it; None if there is no deadline.
    """
    if persistent and not backend.features & {Feature.DEFINE, Feature.UPDATE_CONFIG}:
        raise lacking(Feature.DEFINE, backend.name)
    operation: Operation[Applied] = Operation("apply", config.name)
    applying = _Applying(backend, create, handle, operation, timeout)
    work = partial(applying.run, config, dry_run=dry_run, persistent=persistent)
    return carry_out(operation, work, applying.stop, backend.completer)


class _Applying:
    def __init__(
        self,
        backend: Backend,
        create: Callable[[DomainConfig, float | None], Operation[Any]],
        handle: Callable[[DomainRef, str | None], Any],
        operation: Operation[Applied],
        timeout: float | None,
    ) -> None:
        self._backend = backend
        self._create = create
        self._handle = handle
        self._operation = operation
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._lock = threading.Lock()
        self._step: Operation[Any] | None = None

    def stop(self, _: Operation[Applied]) -> None:
        """Cancel the step that runs. Called when the operation is stopped."""
        with self._lock:
            step = self._step
        if step is not None:
            step.cancel()

    def run(self, config: DomainConfig, *, dry_run: bool, persistent: bool) -> Applied:
        """Apply."""
        info = running(self._backend, config)
        if info is None:
            made = None
            if not dry_run:
                made = self._finish(lambda: self._create(config, self._left()))
                if persistent:
                    self._keep(config, DomainRef(made.domid, made.uuid))
            return Applied(True, (), ConfigDiff(), made)
        self._operation.domid = info.domid
        ref = DomainRef(info.domid, info.uuid)
        domain = self._handle(ref, info.name)
        now = self._finish(domain.begin.config)
        wanted = _by_address(self._backend, config)
        plan = plan_of(now, wanted, placement_of(self._backend, info, now, wanted))
        for place, step in enumerate(() if dry_run else plan.steps):
            try:
                self._finish(partial(begin_step, step, domain.begin, self._left()))
            except OperationCancelled as error:
                raise self._cancelled(plan, place) from error
            except Error as error:
                raise failure(plan, place, error, info) from error
        if persistent and not dry_run:
            self._keep(config, ref)
        return Applied(False, plan.steps, plan.needs_restart, domain, plan.reasons)

    def _finish(self, begin: Callable[[], Operation[T]]) -> T:
        """Begin a step and wait for it."""
        self._check_stopped()
        step = begin()
        with self._lock:
            self._step = step
        if self._operation.stopped is not None:  # it may have been too early for `stop` to see the step
            step.cancel()
        try:
            return step.result()
        finally:
            with self._lock:
                self._step = None

    def _check_stopped(self) -> None:
        if self._operation.stopped is not None:
            raise describe(OperationCancelled, "cancelled before the next step began", self._operation)

    def _cancelled(self, plan: Plan, place: int) -> OperationCancelled:
        done = f"{place} of {len(plan.steps)} steps were done, and stay; the one that ran was undone"
        return describe(OperationCancelled, f"cancelled: {done}", self._operation)

    def _keep(self, config: DomainConfig, ref: DomainRef) -> None:
        if Feature.DEFINE in self._backend.features:
            self._backend.define(config.replace(uuid=ref.uuid), autostart=None)
        else:
            self._finish(lambda: self._backend.update_config(ref, config))

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def _by_address(backend: Backend, config: DomainConfig) -> DomainConfig:
    """Return a configuration with its PCI devices as the domain has them: each function by its address."""
    if Feature.HOST_DEVICES not in backend.features or not any(map(is_symbolic, config.pcis)):
        return config
    present = backend.pci_devices()
    found = [(pci, meant_by(present, pci)) for pci in config.pcis]
    return config.replace(
        pcis=[pci.replace(address=meant[0].address, name=None) if len(meant) == 1 else pci for pci, meant in found]
    )
