"""What xen_domain does: it reads a configuration, and brings a domain to it and to a state."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

import contextlib
from uuid import UUID

try:
    import pyxen
    from pyxen import conversion
except ImportError:
    pyxen = None  # run() says so


def config_of(module):
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
            module.fail_json(msg=f"src: {wanted['src']}: {error.strerror}: it must be on the host on which this task runs")
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

    def __init__(self, host, config, wanted, *, dry_run):
        self.host = host
        self.config = config
        self.wanted = wanted
        self.dry_run = dry_run
        self.steps = []
        self.needs_restart = []
        self.differences = ""
        uuid = config.uuid if config is not None else wanted["uuid"] and as_uuid(wanted["uuid"])
        self.key = uuid or (config.name if config is not None else wanted["name"])
        self.domain = host.domains.get(self.key)
        self.stored = self._stored()
        self.state = self.before = self._state()

    def bring(self):
        """Bring the domain to the state."""
        state = self.wanted["state"]
        if state in ("stopped", "absent"):
            self._end(at_once=state == "absent")
            if state == "absent" and self.stored is not None:
                self._do("undefine", lambda: self.host.undefine(self.stored.uuid))
                self.stored = None
        elif self.state in ("absent", "stopped"):
            self._start()
        elif self.state in ("shutdown", "crashed"):
            if state != "present":
                self._restart(self.config or self._own_config())
        elif not self._change():
            if state == "running" and self.state == "paused":
                self._do("unpause", lambda: self.domain.unpause())
            elif state == "paused" and self.state == "running":
                self._do("pause", lambda: self.domain.pause())

    def result(self):
        """Return the result of the task."""
        now = None if self.domain is None else self._info()
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

    def _expected(self):
        """Return the state in which the domain is afterwards, for people to read."""
        state = self.wanted["state"]
        return state if state != "present" else "running" if self.before in ("absent", "stopped") else self.before

    def _info(self):
        """Return the domain's state; None if it is gone."""
        with contextlib.suppress(pyxen.DomainNotFound):
            return self.domain.info()
        return None

    def _state(self):
        info = None if self.domain is None else self._info()
        if info is None:
            self.domain = None
            return "absent" if self.stored is None else "stopped"
        return "running" if info.state in ("running", "blocked") else str(info.state)

    def _stored(self):
        """Return the entry of the configuration that the host stores; None if it stores none."""
        if not self.host.supports("define"):
            return None
        return next((each for each in self.host.defined() if self.key in (each.name, each.uuid)), None)

    def _do(self, step, verb):
        """Note a step, and do it unless this is a dry run."""
        self.steps.append(step)
        if not self.dry_run:
            verb()
            self.state = self._state()

    def _start(self):
        """Create a domain that is not there."""
        paused = self.wanted["state"] == "paused"
        config = self.config
        if config is None and self.stored is None:
            raise pyxen.DomainNotFound(
                f"there is no domain {self.key}, and no configuration to create it from: give config, content or src",
                operation="xen_domain",
                domain=str(self.key),
            )
        if config is not None and (self.stored is not None or self._is_kept()):
            self._store(config)
        if self.stored is not None or (config is not None and self._is_kept()):
            self._do("start", lambda: self._started(paused))
        else:
            self._do("create", lambda: self._created(config, paused))

    def _is_kept(self):
        return self.wanted["persistent"] and self.host.supports("define")

    def _store(self, config):
        """Store a configuration, unless it is stored already."""
        if self.stored is not None:
            config = config.replace(uuid=self.stored.uuid)
            if not self.host.defined_config(self.stored.uuid).diff(config):
                return

        def define():
            self.stored = self.host.define(config)

        self._do("define", define)

    def _started(self, paused):
        self.domain = self.host.start(self.stored.uuid, paused=paused, timeout=self.wanted["timeout"])

    def _created(self, config, paused):
        self.domain = self.host.create(config, paused=paused, timeout=self.wanted["timeout"])
        if self.wanted["persistent"] and not self.host.supports("define"):
            self.domain.update_config(config)

    def _end(self, *, at_once):
        """End the domain, if it is there."""
        if self.domain is None:
            return
        ended = self.state in ("shutdown", "crashed")
        if at_once or ended:
            self._do("destroy", self._destroyed)
        else:
            self._do("shutdown", self._shut_down)

    def _destroyed(self):
        with contextlib.suppress(pyxen.DomainNotFound):
            self.domain.destroy(timeout=self.wanted["timeout"])

    def _shut_down(self):
        try:
            with contextlib.suppress(pyxen.DomainNotFound):
                fallback = self.host.supports("fallback")
                self.domain.shutdown(fallback=fallback, timeout=self.wanted["timeout"])
        except (pyxen.InvalidState, pyxen.NoGuestDriver, pyxen.GuestTimeout, pyxen.OperationTimeout):
            if not self.wanted["force"]:
                raise
        self._destroyed()  # one that does not answer, or that stays when it has shut down

    def _change(self):
        """Bring a domain that is there to the configuration, and tell whether it was created anew for that."""
        restart = self.wanted["restart"]
        if self.config is None:
            if restart == "always":
                self._restart(self._own_config())
            return restart == "always"
        plan = self._apply(dry_run=True)
        now = plan.domain.config()
        self.differences = str(now.diff(self.config)) if plan.changed or plan.needs_restart else ""
        if restart == "always" or (restart == "if_needed" and plan.needs_restart):
            self._restart(self.config)
            return True
        self.needs_restart = list(plan.reasons)
        if plan.changed:
            self.steps += [str(step) for step in plan.changed]
            if not self.dry_run:
                self._apply(dry_run=False)
        return False

    def _apply(self, *, dry_run):
        return self.host.apply(
            self.config, dry_run=dry_run, persistent=self.wanted["persistent"], timeout=self.wanted["timeout"]
        )

    def _own_config(self):
        """Return the configuration from which this domain is started anew without one of the task's."""
        if self.stored is not None:
            return self.host.defined_config(self.stored.uuid)
        return self.domain.config()

    def _restart(self, config):
        """End the domain, and create it anew under its uuid."""
        config = config.replace(uuid=self.domain.uuid)
        paused = self.wanted["state"] == "paused" or (self.wanted["state"] == "present" and self.state == "paused")
        self._end(at_once=False)
        if self.stored is not None or self._is_kept():
            self._store(config)
            self._do("start", lambda: self._started(paused))
        else:
            self._do("create", lambda: self._created(config, paused))


def as_uuid(text):
    """Return a uuid.

    Raises:
        pyxen.InvalidArgument: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise pyxen.InvalidArgument(f"{text!r} is not a uuid", operation="xen_domain") from None
