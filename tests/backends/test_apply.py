"""Applying a configuration: created if it is not there, else changed by the least; what was done, and what was not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pyxen import (
    ApplyFailed,
    Disk,
    DomainExists,
    Feature,
    Host,
    OperationTimeout,
    Scheduler,
    UnsupportedFeature,
    ValidationError,
)
from tests.backends.differences import differs
from tests.backends.files import Files
from tests.backends.support import Make, supporting


def steps(changed: tuple[object, ...]) -> list[str]:
    """Return the verbs of steps."""
    return [str(step).split()[0] for step in changed]


@contextlib.contextmanager
def supporting_steps(host: Host, *features: Feature) -> Iterator[None]:
    """Apply what needs features; where the host lacks one, the step must fail, and say so."""
    if all(map(host.supports, features)):
        yield
        return
    with pytest.raises(ApplyFailed, match="cannot do this") as caught:
        yield
    assert isinstance(caught.value.__cause__, UnsupportedFeature)


def test_what_is_not_there_is_created(host: Host, config: Make) -> None:
    wanted = config("web1", memory=8)
    tried = host.apply(wanted, dry_run=True)
    assert (tried.created, tried.domain, host.domains.get("web1")) == (True, None, None)
    made = host.apply(wanted, timeout=60)
    assert made.created
    assert made.domain == host.domains["web1"]
    assert (made.changed, bool(made.needs_restart)) == ((), False)
    again = host.apply(wanted)
    assert (again.created, again.changed, str(again.needs_restart)) == (False, (), "no difference")
    assert again.domain == made.domain


def test_what_runs_is_changed(host: Host, make: Make, config: Make) -> None:
    domain = make("web1", memory=8, maxmem=16)
    wanted = config("web1", memory=6, maxmem=16)
    with supporting_steps(host, Feature.MEMORY):
        tried = host.apply(wanted, dry_run=True)
        assert domain.config().memory == 8
        done = host.apply(wanted)
        assert steps(done.changed) == ["set_memory"]
        assert (done.created, done.changed) == (tried.created, tried.changed)
        assert not domain.config().diff(wanted), str(domain.config().diff(wanted))


def test_memory_beyond_the_maximum(host: Host, make: Make, config: Make) -> None:
    domain = make("web1", memory=8, maxmem=8)
    wanted = config("web1", memory=12, maxmem=16)
    if not (host.supports(Feature.MAXMEM) and host.supports(Feature.MEMORY)) or differs(host, "maxmem"):
        assert steps(host.apply(wanted, dry_run=True).changed) == ["set_maxmem", "set_memory"]
        return
    assert steps(host.apply(wanted).changed) == ["set_maxmem", "set_memory"]
    assert not domain.config().diff(wanted)
    less = config("web1", memory=6, maxmem=6)
    assert steps(host.apply(less).changed) == ["set_memory", "set_maxmem"]
    assert not domain.config().diff(less)


def test_disks_come_and_go(host: Host, make: Make, config: Make, files: Files, folder: str, image: str) -> None:
    more = files.zeros(f"{folder}/more.img", 1 << 20)
    domain = make("web1")
    with_one = config("web1", disks=[Disk(image, vdev="xvdy")])
    with supporting_steps(host, Feature.ATTACH):
        assert steps(host.apply(with_one).changed) == ["attach"]
        assert [disk.vdev for disk in domain.config().disks][-1] == "xvdy"
        assert not host.apply(with_one).changed
        other = config("web1", disks=[Disk(more, vdev="xvdy")])
        tried = host.apply(other, dry_run=True)
        assert steps(tried.changed) == ["detach", "attach"]


def test_another_name(host: Host, make: Make, config: Make) -> None:
    domain = make("web1")
    with supporting_steps(host, Feature.RENAME):
        done = host.apply(config("web2", uuid=domain.uuid))
        assert steps(done.changed) == ["rename"]
        assert domain.info().name == "web2"


def test_what_needs_a_restart(host: Host, make: Make, config: Make) -> None:
    domain = make("web1", vcpus=1)
    done = host.apply(config("web1", vcpus=2, cmdline="quiet"))
    assert not done.changed
    assert {change.path for change in done.needs_restart.settings} == {"cmdline", "vcpus", "maxvcpus"}
    assert domain.config().vcpus == 1


def test_a_step_that_fails(host: Host, make: Make, config: Make) -> None:
    make("web2")
    domain = make("web1", memory=8, maxmem=16)
    wanted = config("web2", uuid=domain.uuid, memory=6, maxmem=16)
    with pytest.raises(ApplyFailed, match=r"0 of 2 steps were done; this one failed: rename web2: ") as caught:
        host.apply(wanted)
    assert isinstance(caught.value.__cause__, DomainExists if host.supports(Feature.RENAME) else UnsupportedFeature)
    assert (caught.value.done, str(caught.value.failed)) == ((), "rename web2")
    assert steps(caught.value.not_done) == ["set_memory"]
    assert domain.config().memory == 8
    assert domain.info().name == "web1"


def test_a_step_that_fails_after_others(host: Host, make: Make, config: Make, folder: str) -> None:
    if not host.supports(Feature.RENAME):
        return
    domain = make("web1")
    missing = Disk(f"{folder}/missing.img", vdev="xvdy")
    with pytest.raises(ApplyFailed, match="1 of 2 steps were done") as caught:
        host.apply(config("web2", uuid=domain.uuid, disks=[missing]))
    assert steps(caught.value.done) == ["rename"]
    assert steps((caught.value.failed,)) == ["attach"]
    assert domain.info().name == "web2"


def test_no_time_left(host: Host, make: Make, config: Make) -> None:
    domain = make("web1", memory=8, maxmem=16)
    with pytest.raises(ApplyFailed, match="before the next step began") as caught:
        host.apply(config("web1", memory=6, maxmem=16), timeout=0)
    assert isinstance(caught.value.__cause__, OperationTimeout)
    assert domain.config().memory == 8


def test_what_is_refused(host: Host, make: Make, config: Make) -> None:
    make("web1")
    with pytest.raises(DomainExists, match="another domain has this name"):
        host.apply(config("web1", uuid="11111111-2222-3333-4444-555555555555"), dry_run=True)
    with pytest.raises(ValidationError):
        host.apply(config("web1", memory=16, maxmem=8))


def test_shares(host: Host, make: Make, config: Make) -> None:
    domain = make("web1")
    wanted = config("web1", scheduler=Scheduler(weight=512))
    with supporting_steps(host, Feature.SCHEDULER):
        assert steps(host.apply(wanted).changed) == ["set_scheduler"]
        if not differs(host, "shares"):
            assert domain.scheduler().weight == 512
            assert not host.apply(wanted).changed


def test_cpus(host: Host, make: Make, config: Make) -> None:
    domain = make("web1", vcpus=1)
    if not (host.supports(Feature.VCPU_INFO) and host.supports(Feature.PIN)):
        left = host.apply(config("web1", vcpus=1, cpus="0"))
        assert (left.changed, [change.path for change in left.needs_restart.settings]) == ((), ["cpus"])
        assert left.reasons == ("cpus: this backend cannot change it while the domain runs",)
        return
    wanted = config("web1", vcpus=1, cpus="0", cpus_soft="0")
    two = len(host.topology().cpus) > 1
    done = host.apply(wanted)
    assert steps(done.changed) == (["pin_vcpu"] if two else [])
    assert not done.needs_restart
    assert [str(vcpu.cpus) for vcpu in domain.vcpus()] == ["0"]
    assert not host.apply(wanted).changed
    assert steps(host.apply(config("web1", vcpus=1, cpus="all")).changed) == (["pin_vcpu"] if two else [])


def test_another_pool(host: Host, make: Make, config: Make) -> None:
    domain = make("web1")
    if not host.supports(Feature.CPUPOOLS):
        left = host.apply(config("web1", pool="nowhere"))
        assert (left.changed, [change.path for change in left.needs_restart.settings]) == ((), ["pool"])
        return
    assert not host.apply(config("web1", pool="Pool-0")).changed
    with pytest.raises(ApplyFailed, match="set_cpupool nowhere"):
        host.apply(config("web1", pool="nowhere"))
    assert domain.info().pool == "Pool-0"


def test_begun(host: Host, config: Make) -> None:
    begun = host.begin.apply(config("web1", memory=8), timeout=60)
    made = begun.result(60)
    assert made.created
    again = host.begin.apply(config("web1", memory=8, cmdline="quiet"), dry_run=True).result(60)
    assert again.domain == made.domain
    assert again.reasons == ("cmdline: it is fixed when a domain is created",)


def test_what_is_kept(host: Host, make: Make, config: Make) -> None:
    if not {Feature.DEFINE, Feature.UPDATE_CONFIG} & {feature for feature in Feature if host.supports(feature)}:
        return
    domain = make("web1", memory=8)
    try:
        host.apply(config("web1", memory=8, cmdline="quiet"), persistent=True)
        if host.supports(Feature.DEFINE):
            assert host.defined_config(domain.uuid).cmdline == "quiet"
        else:
            assert b"quiet" in (domain.userdata("xl") or b"")
        assert domain.config().cmdline in {None, ""}
    finally:
        if host.supports(Feature.DEFINE):
            host.undefine(domain.uuid)


@pytest.mark.needs(Feature.DEFINE)
def test_what_is_created_under_a_name_that_is_kept(host: Host, config: Make) -> None:
    kept = host.define(config("web1", memory=8))
    try:
        made = host.apply(config("web1", memory=12), persistent=True)
        assert (made.created, made.domain.uuid) == (True, kept.uuid)
        assert host.defined_config(kept.uuid).memory == 12
        made.domain.destroy()
        with pytest.raises(DomainExists):
            host.apply(config("web1", uuid="11111111-2222-3333-4444-555555555555"), persistent=True)
        assert host.domains.get("web1") is None or host.supports(Feature.LIBVIRT)
    finally:
        host.undefine(kept.uuid)


def test_the_configuration_of_the_next_start(host: Host, make: Make, config: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.UPDATE_CONFIG):
        domain.update_config(config("web1", memory=12))
        assert domain.config().memory != 12
        assert b"memory = 12" in (domain.userdata("xl") or b"")
        domain.update_config(None)
        assert domain.userdata("xl") is None
        domain.update_config(None)
        with pytest.raises(ValidationError):
            domain.update_config(config("web1", memory=16, maxmem=8))
