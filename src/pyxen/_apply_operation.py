"""The operation of `Host.apply`: one step after the other, and what is left of them when one fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pyxen._common.own_thread import OwnThreads
from pyxen._common.pci_preconditions import is_symbolic, meant_by
from pyxen._copies.orphans import destroy_all
from pyxen._copies.steps import Steps, compose
from pyxen._placement import placement_of
from pyxen.applying import Applied, Plan, begin_step, failure, not_kept, plan_of, running
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import ConfigDiff, DomainConfig
from pyxen.errors import DomainExists, Error, OperationCancelled
from pyxen.features import Feature, lacking
from pyxen.operation import Operation, describe
from pyxen.records.info import DomainInfo

__all__ = ["begin_apply"]


def begin_apply(
    backend: Backend,
    threads: OwnThreads,
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
        threads: The operations of this kind of the host.
        create: Begins a create, with a timeout.
        handle: Returns the handle of a domain.
        config: The configuration, which is valid.
        dry_run: Change nothing.
        persistent: Keep the configuration, too.
        timeout: Seconds for all of it; None if there is no deadline.
    """
    if persistent and not backend.features & {Feature.DEFINE, Feature.UPDATE_CONFIG}:
        raise lacking(Feature.DEFINE, backend.name)
    deadline = None if timeout is None else time.monotonic() + timeout

    def work(steps: Steps) -> Applied:
        applying = _Applying(backend, create, handle, steps, deadline)
        return applying.run(config, dry_run=dry_run, persistent=persistent)

    return compose(threads, "apply", config.name, work, timeout=None)


class _Applying:
    def __init__(
        self,
        backend: Backend,
        create: Callable[[DomainConfig, float | None], Operation[Any]],
        handle: Callable[[DomainRef, str | None], Any],
        steps: Steps,
        deadline: float | None,
    ) -> None:
        self._backend = backend
        self._create = create
        self._handle = handle
        self._steps = steps
        self._operation = steps.operation
        self._deadline = deadline

    def run(self, config: DomainConfig, *, dry_run: bool, persistent: bool) -> Applied:
        """Apply."""
        info = running(self._backend, config)
        kept = self._to_keep(config, info) if persistent else config
        if info is None:
            made = None if dry_run else self._made(kept, persistent=persistent)
            return Applied(True, (), ConfigDiff(), made)
        self._operation.domid = info.domid
        ref = DomainRef(info.domid, info.uuid)
        domain = self._handle(ref, info.name)
        now = self._steps.finish(domain.begin.config)
        wanted = _by_address(self._backend, config)
        plan = plan_of(now, wanted, placement_of(self._backend, info, now, wanted))
        if not dry_run:
            self._carry_out(plan, domain, info)
        if persistent and not dry_run:
            self._keep_changed(kept, ref, plan, info)
        return Applied(False, plan.steps, plan.needs_restart, domain, plan.reasons)

    def _to_keep(self, config: DomainConfig, info: DomainInfo | None) -> DomainConfig:
        """Return the configuration as it can be kept: with the uuid under which its name is kept already.

        Raises:
            DomainExists: The configuration of another domain is kept under this name.
        """
        if Feature.DEFINE not in self._backend.features:
            return config
        named = next((one.uuid for one in self._backend.defined() if one.name == config.name), None)
        uuid = info.uuid if info is not None else config.uuid
        if named is not None and uuid not in {None, named}:
            message = (
                f"the configuration of another domain is kept under this name, with the uuid {named}: choose another "
                "name, or undefine that one"
            )
            raise DomainExists(message, operation="apply", domain=config.name)
        return config if config.uuid is not None else config.replace(uuid=named)

    def _made(self, config: DomainConfig, *, persistent: bool) -> Any:
        """Create the domain, and keep its configuration; or leave nothing of it."""
        made = self._steps.finish(lambda: self._create(config, self._left()))
        if persistent:
            ref = DomainRef(made.domid, made.uuid)
            try:
                self._keep(config, ref)
            except BaseException:
                destroy_all(self._backend, [ref])
                raise
        return made

    def _carry_out(self, plan: Plan, domain: Any, info: DomainInfo) -> None:
        self._operation.deadline = self._deadline  # from here on, it ends what has no deadline of its own
        for place, step in enumerate(plan.steps):
            try:
                self._steps.finish(partial(begin_step, step, domain.begin, self._left()))
            except OperationCancelled as error:
                raise self._cancelled(plan, place) from error
            except Error as error:
                raise failure(plan, place, error, info) from error

    def _cancelled(self, plan: Plan, place: int) -> OperationCancelled:
        done = f"{place} of {len(plan.steps)} steps were done, and stay; the one that ran was undone"
        return describe(OperationCancelled, f"{self._steps.reason}: {done}", self._operation)

    def _keep_changed(self, config: DomainConfig, ref: DomainRef, plan: Plan, info: DomainInfo) -> None:
        """Keep the configuration of a domain that was changed."""
        try:
            self._keep(config, ref)
        except OperationCancelled as error:
            done = "all steps were done, and stay; the configuration was not kept"
            raise describe(OperationCancelled, f"{self._steps.reason}: {done}", self._operation) from error
        except Error as error:
            raise not_kept(plan, error, info) from error

    def _keep(self, config: DomainConfig, ref: DomainRef) -> None:
        self._operation.deadline = self._deadline
        self._steps.check()
        if Feature.DEFINE in self._backend.features:
            self._backend.define(config.replace(uuid=ref.uuid), autostart=None)
        else:
            self._steps.finish(lambda: self._backend.update_config(ref, config))

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
