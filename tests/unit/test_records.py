"""Records that a host hands out: JSON, tables, handles, and that they stay plain values."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime
from typing import get_origin, get_type_hints
from uuid import UUID

import pytest

import pyxen
import pyxen.aio
from pyxen import (
    DefinedDomain,
    DiskStats,
    DomainInfo,
    DomainRates,
    DomainShutdown,
    DomainState,
    DomainStats,
    EventsLost,
    HostCapability,
    HostCpu,
    HostInfo,
    NotFound,
    NumaNode,
    PciPlace,
    ShutdownReason,
    Topology,
    VifStats,
)
from pyxen._durations import LONGEST_WAIT, bounded
from pyxen.records.base import OfDomain, Record
from pyxen.records.qmp_event import QmpEvent
from pyxen.testing import FakeHost
from tests.unit.infos import domain_info

NOW = datetime(2025, 1, 31, 7, 30, tzinfo=UTC)
INFO = domain_info(3, "web1", UUID(int=3), DomainState.SHUTDOWN)
SHUTDOWN = DomainShutdown(domid=3, uuid=UUID(int=3), name="web1", time=NOW, reason=ShutdownReason.SOFT_RESET)
RECORDS: list[Record] = [
    INFO,
    HostInfo("4.20.0", 2, 1, 2, 1, 1000, 4096, 1024, capabilities=frozenset({HostCapability.PV, HostCapability.HAP})),
    DomainStats(
        INFO, 1, (1, 2), (True, False), (DiskStats("xvda", 1, 2, 3, 4),), (VifStats(0, 1, 2, 3, 4, 5, 6, 7, 8),)
    ),
    DefinedDomain("web9", UUID(int=9), autostart=False, domid=None),
    SHUTDOWN,
    EventsLost(time=NOW, count=None),
    Topology((HostCpu(0, 0, 0, 0, 0),), (NumaNode(0, 4096, None, (10,)),), (PciPlace("0000:00:1f.0", None),)),
]


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_is_ready_for_json(record: Record) -> None:
    told = json.loads(json.dumps(record.to_dict()))
    assert told == record.to_dict()
    assert {field.name for field in dataclasses.fields(record)} <= told.keys()


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.20.0", (4, 20, ".0")), ("4.20.5-pre", (4, 20, ".5-pre")), ("4.17", (4, 17, "")), ("4.21-rc", (4, 21, "-rc"))],
)
def test_a_version_in_numbers(text: str, version: tuple[int, int, str]) -> None:
    info = dataclasses.replace(RECORDS[1], xen_version=text)
    assert isinstance(info, HostInfo)
    assert info.xen_version_info == version
    assert info.xen_version_info >= (4, 17)
    assert info.xen_version_info < (5, 0)


def test_a_version_without_numbers() -> None:
    info = HostInfo("", 2, 1, 2, 1, 1000, 4096, 1024)
    with pytest.raises(ValueError, match="'' is not a version of Xen"):
        _ = info.xen_version_info


def test_what_json_has() -> None:
    assert RECORDS[1].to_dict()["capabilities"] == ["hap", "pv"]
    assert SHUTDOWN.to_dict() == {
        "event": "DomainShutdown",
        "domid": 3,
        "uuid": "00000000-0000-0000-0000-000000000003",
        "name": "web1",
        "time": "2025-01-31T07:30:00+00:00",
        "reason": "soft_reset",
    }
    assert RECORDS[2].to_dict()["disks"][0]["vdev"] == "xvda"
    assert INFO.to_dict()["state"] == "shutdown"


@pytest.mark.parametrize("record", [INFO, SHUTDOWN])
def test_a_handle_changes_nothing_else(record: OfDomain) -> None:
    plain = copy.copy(record)
    attached = copy.copy(record).attach(lambda _: "handle")
    assert attached.domain == "handle"
    assert (attached, hash(attached), repr(attached)) == (plain, hash(plain), repr(plain))
    assert pickle.loads(pickle.dumps(attached)) == plain  # noqa: S301 (our own)
    with pytest.raises(NotFound, match="does not come from a host"):
        _ = plain.domain
    with pytest.raises(NotFound, match="does not come from a host"):
        _ = dataclasses.replace(attached).domain


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_has_no_room_for_more(record: Record) -> None:
    assert not hasattr(record, "__dict__")


def test_which_handle_a_record_has_is_for_type_checkers_only() -> None:
    assert get_type_hints(pyxen.Host.list)["return"] == list[DomainInfo[pyxen.Domain]]
    assert get_type_hints(pyxen.aio.Host.list)["return"] == list[DomainInfo[pyxen.aio.Domain]]
    assert get_type_hints(DomainRates)["stats"].__origin__ is DomainStats
    assert get_origin(DomainShutdown[pyxen.Domain]) is DomainShutdown
    match SHUTDOWN:
        case DomainShutdown(name=name, reason=ShutdownReason.SOFT_RESET):
            assert name == "web1"
        case _:
            pytest.fail("it does not match")


def test_events_of_qemu_can_be_in_a_set() -> None:
    event = QmpEvent("RESET", {"guest": True}, NOW)
    assert hash(event) == hash(dataclasses.replace(event))
    assert event != dataclasses.replace(event, data={})


def test_what_is_lost_is_about_no_domain() -> None:
    assert EventsLost(time=NOW, count=3).domain is None


def test_tables_of_notebooks_are_escaped() -> None:
    table = domain_info(3, "<script>", UUID(int=3), DomainState.RUNNING)._repr_html_()
    assert "<td>&lt;script&gt;</td>" in table
    assert "<script>" not in table


def test_domains_show_themselves() -> None:
    with FakeHost() as host:
        host.create(pyxen.DomainConfig("<web1>", kernel="/k", memory=64))
        assert repr(host.domains) == f"<Domains of {host.uri}>"
        assert "<td>&lt;web1&gt;</td>" in host.domains._repr_html_()
        assert host.domains._ipython_key_completions_() == ["Domain-0", "<web1>"]
        with host.events() as events:
            host.domains["<web1>"].destroy()
            host.list()
            assert "open, " in repr(events)
        assert "closed, 0 to read" in repr(events)


@pytest.mark.parametrize(
    ("left", "waits"), [(None, None), (5.0, 5.0), (-1.0, 0.0), (1e9, LONGEST_WAIT), (float("inf"), LONGEST_WAIT)]
)
def test_no_call_waits_longer_than_it_can(left: float | None, waits: float | None) -> None:
    assert bounded(left) == waits


@pytest.mark.parametrize("delay", [float("nan"), -1, "2", None])
def test_a_brake_that_is_not_valid(delay: float) -> None:
    with pytest.raises(pyxen.InvalidArgument, match="first_delay="):
        pyxen.Brake(first_delay=delay)


def test_a_brake_without_end() -> None:
    assert pyxen.Brake(first_delay=float("inf"), max_delay=float("inf")).delay(1) == float("inf")


def test_a_reason_reads_as_its_name() -> None:
    assert f"{ShutdownReason.CRASH} {ShutdownReason.SOFT_RESET!s:>11}" == "crash  soft_reset"
    assert f"{ShutdownReason.CRASH:>6}|{ShutdownReason.CRASH:02d}|{ShutdownReason.CRASH:x}" == " crash|03|3"
    assert (ShutdownReason.CRASH, int(ShutdownReason.CRASH)) == (3, 3)  # and stays Xen's number
