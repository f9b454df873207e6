"""What xen_domain does: it reads a configuration, and brings a domain to it and to a state."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from ansible.module_utils.basic import AnsibleModule

with contextlib.suppress(ImportError):  # run() says so
    import pyxen
    from pyxen import conversion


def config_of(module: AnsibleModule) -> pyxen.DomainConfig | None:
    """Return the configuration that a task gives; None if it gives none.

    Raises:
        pyxen.ConfigError: It is not valid.
    """
    wanted = module.params
    own = {key: wanted[key] for key in ("name", "uuid") if wanted[key] is not None}
    if wanted["config"] is not None:
        return pyxen.DomainConfig.from_dict({**wanted["config"], **own})
    text = wanted["content"]
    if wanted["src"] is not None:
        try:
            with open(wanted["src"], "rb") as file:
                text = file.read()
        except OSError as error:
            message = f"src: {wanted['src']}: {error.strerror}: it must be on the host on which this task runs"
            raise pyxen.InvalidArgument(message, operation="xen_domain") from error
    if text is None:
        return None
    config, losses = conversion.read(text)
    for loss in losses:
        module.warn(f"not taken over: {loss}")
    return config.replace(**own)


class Task:
    """A domain on its way to a state.

    Args:
        host: The host.
        config: The configuration that is wanted; None if there is none.
        wanted: The options of the task.
        dry_run: Change nothing.
    """

    def __init__(
        self, host: pyxen.Host, config: pyxen.DomainConfig | None, wanted: dict[str, Any], *, dry_run: bool
    ) -> None:
        self.host = host
        self.config = config
        self.wanted = wanted
        self.dry_run = dry_run
        self.steps: list[str] = []
        self.needs_restart: list[str] = []
        self.differences = ""
        uuid = config.uuid if config is not None else wanted["uuid"] and as_uuid(wanted["uuid"])
        self.key = uuid or (config.name if config is not None else wanted["name"])
        self.domain = host.domains.get(self.key)
        self.stored = self._stored()
        self.state = self.before = self._state()

    def bring(self) -> None:
        """Bring the domain to the state."""
        state = self.wanted["state"]
        if state in ("stopped", "absent"):
            self._end(at_once=state == "absent")
            if state == "absent" and self.stored is not None:
                self._do("undefine", partial(self.host.undefine, self.stored.uuid))
                self.stored = None
        elif self.state in ("absent", "stopped"):
            self._start()
        elif self.state in ("shutdown", "crashed"):
            if state != "present":
                self._restart(self.config or self._own_config())
        elif not self._change():
            if state == "running" and self.state == "paused":
                self._do("unpause", self._there().unpause)
            elif state == "paused" and self.state == "running":
                self._do("pause", self._there().pause)

    def result(self) -> dict[str, Any]:
        """Return the result of the task."""
        now = self._info()
        uuid = now.uuid if now is not None else self.stored.uuid if self.stored is not None else None
        name = self.config.name if self.config is not None else now.name if now is not None else self.wanted["name"]
        after = self._state()
        lines = [f"{name}: {self.before} -> {self._expected()}", *self.differences.splitlines(), *self.steps]
        return {
            "changed": bool(self.steps),
            "name": name,
            "domid": None if now is None else now.domid,
            "uuid": None if uuid is None else str(uuid),
            "state": after,
            "domain": None if now is None else now.to_dict(),
            "steps": self.steps,
            "needs_restart": self.needs_restart,
            "diff": {"prepared": "\n".join([*lines, ""])} if self.steps else {"prepared": ""},
        }

    def _expected(self) -> str:
        """Return the state in which the domain is afterwards, for people to read."""
        state = self.wanted["state"]
        return state if state != "present" else "running" if self.before in ("absent", "stopped") else self.before

    def _info(self) -> pyxen.DomainInfo | None:
        """Return the domain's state; None if it is gone."""
        with contextlib.suppress(pyxen.DomainNotFound):
            return self._there().info()
        return None

    def _there(self) -> pyxen.Domain:
        """Return the domain.

        Raises:
            pyxen.DomainNotFound: It is not there.
        """
        if self.domain is None:
            raise pyxen.DomainNotFound(f"there is no domain {self.key}", operation="xen_domain", domain=str(self.key))
        return self.domain

    def _state(self) -> str:
        info = self._info()
        if info is None:
            self.domain = None
            return "absent" if self.stored is None else "stopped"
        return "running" if info.state in ("running", "blocked") else str(info.state)

    def _stored(self) -> pyxen.DefinedDomain | None:
        """Return the entry of the configuration that the host stores; None if it stores none."""
        if not self.host.supports("define"):
            return None
        return next((each for each in self.host.defined() if self.key in (each.name, each.uuid)), None)

    def _do(self, step: str, verb: Callable[[], object]) -> None:
        """Note a step, and do it unless this is a dry run."""
        self.steps.append(step)
        if not self.dry_run:
            verb()
            self.state = self._state()

    def _start(self) -> None:
        """Create or start a domain that is not there."""
        paused = self.wanted["state"] == "paused"
        if self.config is not None:
            self._make(self.config, paused)
        elif self.stored is not None:
            self._do("start", lambda: self._started(paused))
        else:
            raise pyxen.DomainNotFound(
                f"there is no domain {self.key}, and no configuration to create it from: give config, content or src",
                operation="xen_domain",
                domain=str(self.key),
            )

    def _make(self, config: pyxen.DomainConfig, paused: bool) -> None:
        """Create a domain, or store its configuration and start it."""
        if self.stored is not None or self._is_kept():
            self._store(config)
            self._do("start", lambda: self._started(paused))
        else:
            self._do("create", lambda: self._created(config, paused))

    def _is_kept(self) -> bool:
        return bool(self.wanted["persistent"]) and self.host.supports("define")

    def _store(self, config: pyxen.DomainConfig) -> None:
        """Store a configuration, unless it is stored already."""
        if self.stored is not None:
            config = config.replace(uuid=self.stored.uuid)
            if not self.host.defined_config(self.stored.uuid).diff(config):
                return

        def define() -> None:
            self.stored = self.host.define(config)

        self._do("define", define)

    def _started(self, paused: bool) -> None:
        key = self.key if self.stored is None else self.stored.uuid
        self.domain = self.host.start(key, paused=paused, timeout=self.wanted["timeout"])

    def _created(self, config: pyxen.DomainConfig, paused: bool) -> None:
        self.domain = self.host.create(config, paused=paused, timeout=self.wanted["timeout"])
        if self.wanted["persistent"] and not self.host.supports("define"):
            self.domain.update_config(config)

    def _end(self, *, at_once: bool) -> None:
        """End the domain, if it is there."""
        if self.domain is None:
            return
        ended = self.state in ("shutdown", "crashed")
        if at_once or ended:
            self._do("destroy", self._destroyed)
        else:
            self._do("shutdown", self._shut_down)

    def _destroyed(self) -> None:
        with contextlib.suppress(pyxen.DomainNotFound):
            self._there().destroy(timeout=self.wanted["timeout"])

    def _shut_down(self) -> None:
        try:
            with contextlib.suppress(pyxen.DomainNotFound):
                fallback = self.host.supports("fallback")
                self._there().shutdown(fallback=fallback, timeout=self.wanted["shutdown_timeout"])
        except (pyxen.InvalidState, pyxen.NoGuestDriver, pyxen.GuestTimeout, pyxen.OperationTimeout):
            if not self.wanted["force"]:
                raise
        self._destroyed()  # one that does not answer, or that stays when it has shut down

    def _change(self) -> bool:
        """Bring a domain that is there to the configuration, and tell whether it was created anew for that."""
        restart: str = self.wanted["restart"]
        if self.config is None:
            if restart == "always":
                self._restart(self._own_config())
            return restart == "always"
        apply = partial(
            self.host.apply, self.config, persistent=self.wanted["persistent"], timeout=self.wanted["timeout"]
        )
        plan = apply(dry_run=True)
        if plan.changed or plan.needs_restart:
            self.differences = str(self._there().config().diff(self.config))
        if restart == "always" or (restart == "if_needed" and plan.needs_restart):
            self._restart(self.config)
            return True
        self.needs_restart = list(plan.reasons)
        if plan.changed:
            self.steps += [str(step) for step in plan.changed]
            if not self.dry_run:
                apply()
        elif self.wanted["persistent"]:
            self._keep(self.config)
        return False

    def _keep(self, config: pyxen.DomainConfig) -> None:
        """Store the configuration of a domain that runs with it, or will when it is restarted."""
        config = config.replace(uuid=self._there().uuid)
        if self.host.supports("define"):
            self._store(config)
        elif not self._is_next(config):
            self._do("update_config", lambda: self._there().update_config(config))

    def _is_next(self, config: pyxen.DomainConfig) -> bool:
        """Tell whether the next restart uses this configuration already."""
        note = self._there().userdata("xl")
        if note is None:
            return not self.needs_restart
        with contextlib.suppress(pyxen.ConfigError):
            return not pyxen.xlcfg.loads(note.rstrip(b"\0").decode(errors="surrogateescape")).diff(config)
        return False

    def _own_config(self) -> pyxen.DomainConfig:
        """Return the configuration from which this domain is started anew without one of the task's."""
        if self.stored is not None:
            return self.host.defined_config(self.stored.uuid)
        return self._there().config()

    def _restart(self, config: pyxen.DomainConfig) -> None:
        """End the domain, and create it anew under its uuid."""
        config = config.replace(uuid=self._there().uuid)
        paused = self.wanted["state"] == "paused" or (self.wanted["state"] == "present" and self.state == "paused")
        self._check(config)
        self._end(at_once=False)
        self._make(config, paused)

    def _check(self, config: pyxen.DomainConfig) -> None:
        """See that a domain can be created anew, before it is ended. Its memory is free only then, and so is its name.

        Raises:
            pyxen.Error: As for a create.
        """
        config.validate()
        if self.host.supports("check_create"):
            with contextlib.suppress(pyxen.NotEnoughMemory):
                self.host.check_create(config.replace(name=f"{config.name}--anew", uuid=None, domid=None))


def as_uuid(text: str) -> UUID:
    """Return a uuid.

    Raises:
        pyxen.InvalidArgument: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise pyxen.InvalidArgument(f"{text!r} is not a uuid", operation="xen_domain") from None
