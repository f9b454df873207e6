"""Xen itself, where it has neither hypfs nor Flask and its processors cannot watch caches; and where it refuses."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

import pytest

import pyxen
from pyxen import DomainConfig, InvalidArgument, InvalidState, OperationFailed, PsrKind, UnsupportedFeature
from pyxen.errors import Error
from tests.offhost.host import OffHost
from tests.offhost.world import Call

Configure = Callable[..., DomainConfig]

LINE = "(XEN) This is no hypervisor, but a pretended one."


def test_the_log(host: pyxen.Host) -> None:
    assert host.log() == host.log(clear=True) == f"{LINE}\n"
    with host.follow_log() as new, host.follow_log(whole=True) as whole:
        assert (new.get(0), whole.get(0), whole.get(0)) == (None, LINE, None)
        assert new.lost == whole.lost == 0


def test_a_log_that_xen_does_not_show(offhost: OffHost, host: pyxen.Host) -> None:
    lines = host.follow_log()
    with offhost.world.failing("sysctl.readconsole", errno.EPERM):
        for call in (host.log, host.follow_log, lines.get, lambda: next(lines)):
            with pytest.raises(OperationFailed, match="Xen does not show its log: Operation not permitted") as caught:
                call()
            assert (caught.value.operation, caught.value.code) == ("log", -errno.EPERM)
    assert lines.get(0) is None


def sysctls(calls: Iterable[Call]) -> list[str]:
    """Return what Xen itself was asked; meanwhile others may look at what a new domain has changed."""
    return [call.name for call in calls if call.name.startswith("sysctl.")]


def test_the_log_is_read_while_libxl_is_busy(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    with offhost.world.recording() as calls:
        assert host.log()
    assert sysctls(calls) == ["sysctl.readconsole"]
    web.destroy()


def test_debug_keys(offhost: OffHost, host: pyxen.Host) -> None:
    with offhost.world.recording() as calls:
        host.debug_keys("q")
    assert sysctls(calls) == ["sysctl.debug_keys"]
    with offhost.world.failing("sysctl.debug_keys", errno.EPERM), pytest.raises(OperationFailed) as caught:
        host.debug_keys("q")
    assert "sending debug keys" in "\n".join(caught.value.log)
    host.debug_keys("r")


def test_a_xen_without_hypfs(host: pyxen.Host) -> None:
    calls: list[Callable[[], object]] = [
        lambda: host.hypfs["/params/loglvl"],
        lambda: host.hypfs.get("/params/loglvl"),
        host.hypfs.list,
        lambda: list(host.hypfs),
        lambda: host.hypfs.write("/params/loglvl", "all"),
        lambda: host.set_parameters("loglvl=all"),
    ]
    for call in calls:
        with pytest.raises(UnsupportedFeature, match="CONFIG_HYPFS") as caught:
            call()
        assert caught.value.feature == "hypfs"


def test_a_xen_with_hypfs(offhost: OffHost, host: pyxen.Host) -> None:
    offhost.world.set_hypfs(there=True)
    assert host.hypfs["/params/loglvl"] == "warning"
    host.set_parameters("loglvl=all")
    assert host.hypfs["/params/loglvl"] == "all"
    with pytest.raises(pyxen.NotFound, match="no parameter that can be changed for loglevel=all"):
        host.set_parameters("loglevel=all")
    with pytest.raises(InvalidArgument, match="does not take loglvl="):
        host.set_parameters("loglvl=" + "x" * 16)


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOMEM])
def test_hypfs_that_does_not_open(offhost: OffHost, host: pyxen.Host, error: int) -> None:
    with offhost.world.failing("hypfs.0", error):
        for call in (host.hypfs.list, lambda: host.set_parameters("loglvl=all")):
            with pytest.raises(OperationFailed, match="hypfs does not open") as caught:
                call()
            assert caught.value.code == -error


def test_a_xen_without_flask(host: pyxen.Host) -> None:
    calls: list[Callable[[], object]] = [
        host.flask.enforcing,
        lambda: host.flask.set_enforcing(True),
        lambda: host.flask.load_policy(b"policy"),
        lambda: host.flask.label(0),
        lambda: host.flask.ssidref("system_u:system_r:domU_t"),
    ]
    for call in calls:
        with pytest.raises(UnsupportedFeature, match="flask=enforcing"):
            call()


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        (errno.EINVAL, InvalidArgument, "no label|not a policy|this mode"),
        (errno.EPERM, OperationFailed, "the security policy does not allow it"),
        (errno.ENOMEM, OperationFailed, "Xen refuses: Cannot allocate memory"),
    ],
)
def test_what_flask_refuses(offhost: OffHost, host: pyxen.Host, error: int, kind: type[Error], why: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: host.flask.set_enforcing(True),
        lambda: host.flask.load_policy(b"policy"),
        lambda: host.flask.label(0),
        lambda: host.flask.ssidref("system_u:system_r:domU_t"),
    ]
    with offhost.world.failing("xsm", error):
        for call in calls:
            with pytest.raises(kind, match=why) as caught:
                call()
            assert type(caught.value) is kind


def test_caches_that_cannot_be_watched(host: pyxen.Host, config: Configure) -> None:
    assert not host.psr.monitoring().enabled
    assert host.psr.allocations() == ()
    web = host.create(config())
    for kind in PsrKind:
        with pytest.raises(UnsupportedFeature, match="psr=cat"):
            host.psr.get(web, kind)
        with pytest.raises(UnsupportedFeature, match="psr=cat"):
            host.psr.set(web, kind, 3)
    with pytest.raises(UnsupportedFeature, match="psr=cmt"):
        host.psr.attach(web)
    web.destroy()


def test_sockets_of_which_libxl_does_not_know(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = host.create(config())
    with pytest.raises(InvalidArgument, match="no socket 9; it has 0"):
        host.psr.set(web, "l3", 3, sockets=[9])
    monkeypatch.setattr("pyxen.backends.xenlight.operations.psr.online_sockets", lambda _: [0, 9])
    before = offhost.world.count("domctl.psr_alloc")
    for sockets in (None, [9]):
        with pytest.raises(UnsupportedFeature, match=r"libxl counts .* sockets by the CPUs that are online"):
            host.psr.set(web, "l3", 3, sockets=sockets)
    assert offhost.world.count("domctl.psr_alloc") == before
    assert host.psr.allocations() == ()
    monkeypatch.setattr("pyxen.backends.xenlight.operations.psr.command_line", lambda _: "psr=cat")
    with pytest.raises(UnsupportedFeature, match="libxl counts"):
        host.psr.allocations()
    with pytest.raises(InvalidArgument, match="takes one socket or more"):
        host.psr.set(web, "l3", 3, sockets=())
    web.destroy()


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        (errno.EINVAL, InvalidArgument, "Xen does not take this value"),
        (errno.ERANGE, InvalidArgument, "no such socket"),
        (errno.EOVERFLOW, OperationFailed, "no class of service left"),
        (errno.ENODEV, UnsupportedFeature, "psr=cat"),
        (errno.ENOENT, UnsupportedFeature, "psr=cat"),
        (errno.ENXIO, UnsupportedFeature, "psr=cdp"),
        (errno.EPERM, OperationFailed, "failed"),
    ],
)
def test_shares_that_xen_refuses(
    offhost: OffHost, host: pyxen.Host, config: Configure, error: int, kind: type[Error], why: str
) -> None:
    web = host.create(config())
    with offhost.world.failing("domctl.psr_alloc", error):
        for call in (lambda: host.psr.get(web, "l3"), lambda: host.psr.set(web, "l3_code", 3)):
            with pytest.raises(kind, match=why):
                call()
    web.destroy()


@pytest.mark.parametrize(
    ("error", "kind", "why"),
    [
        (errno.EEXIST, InvalidState, "it is measured already"),
        (errno.ENOENT, InvalidState, "it is not measured"),
        (errno.EOVERFLOW, OperationFailed, "as many domains as it can"),
        (errno.ENODEV, UnsupportedFeature, "psr=cmt"),
    ],
)
def test_measuring_that_xen_refuses(
    offhost: OffHost, host: pyxen.Host, config: Configure, error: int, kind: type[Error], why: str
) -> None:
    web = host.create(config())
    calls: list[Callable[[pyxen.Domain], object]] = [host.psr.attach, host.psr.detach]
    with offhost.world.failing("domctl.psr_cmt_op", error):
        for call in calls:
            with pytest.raises(kind, match=why):
                call(web)
        assert not host.psr.is_attached(web)
    web.destroy()
