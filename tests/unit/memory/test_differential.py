"""The script of probes and the list of what may differ, without Xen: tests/xen compares with the real one."""

from __future__ import annotations

from pathlib import Path

import pyxen
from tests.differential.comparing import complaints, simulated_world, world
from tests.differential.differences import Difference, Excuse, differences, excuses
from tests.differential.plain import Leaves, of_value
from tests.differential.script import outcomes

RELEASE = "4.20"


def played(folder: Path) -> dict[str, Leaves]:
    """Return the outcomes of the script on a new host."""
    folder.mkdir()
    with pyxen.connect("memory:///?bridges=xenbr0&cpus=1&memory=2048") as host:
        return outcomes(simulated_world(host, world(host, folder, Path("/guests"))))


def test_two_hosts_in_memory_do_the_same(tmp_path: Path) -> None:
    first, second = played(tmp_path / "first"), played(tmp_path / "second")
    assert len(first) > 1000
    listed = excuses(RELEASE)
    named = {name.replace(str(tmp_path / "first"), str(tmp_path / "second")): first[name] for name in first}
    found = [one for one in differences(named, second) if not any(excuse.fits(one) for excuse in listed)]
    assert [one for one in found if str(tmp_path) not in f"{one.real}{one.simulated}"] == []


def test_of_the_topology_only_the_pci_devices_may_differ() -> None:
    def asked(options: str) -> Leaves:
        with pyxen.connect(f"memory:///?{options}") as host:
            return of_value(host.topology())

    def told(real: Leaves, simulated: Leaves) -> list[str]:
        probe, listed = "reports: topology()", excuses(RELEASE)
        found = differences({probe: real}, {probe: simulated})
        return [one.leaf for one in found if not any(excuse.fits(one) for excuse in listed)]

    one = asked("cpus=1")
    without = {leaf: text for leaf, text in one.items() if not leaf.startswith("value.pci[5]")} | {
        "value.pci": "5 items"
    }
    assert without != one
    assert told(without, one) == []
    assert told(one | {"value.nodes[0].memory_kib": "1"}, one) == []
    assert told(one | {"value.cpus[0].core": "0"}, one) == ["value.cpus[0].core"]
    two = asked("cpus=2")
    assert told(two, one)[:2] == ["value.cpus", "value.cpus[0].core"]
    assert "value.nodes[1].distances[0]" in told(asked("cpus=2&nodes=2"), two)


def test_what_is_not_on_the_list_is_told() -> None:
    outcome = {"scene: call()": {"value": "1"}, "scene: other()": {"error": "NotFound"}}
    other = {"scene: call()": {"value": "2"}, "scene: third()": {"error": "NotFound"}}
    told = "\n".join(complaints(outcome, other, RELEASE))
    assert "scene: call()\n    value\n        Xen:    1\n        memory: 2" in told
    assert "scene: other()" in told
    assert "scene: third()" in told


def test_a_line_that_is_not_needed_is_told() -> None:
    told = complaints({}, {}, RELEASE)
    assert len(told) == len(excuses(RELEASE))
    assert all(one.startswith("not needed: ") for one in told)


def test_a_line_fits_by_whole_patterns() -> None:
    excuse = Excuse("reports: *", "value[*].memory_kib", (), "it is an example")
    assert excuse.fits(Difference("reports: list()", "value[0].memory_kib", "1", "2"))
    assert not excuse.fits(Difference("other: reports: list()", "value[0].memory_kib", "1", "2"))
    assert not excuse.fits(Difference("reports: list()", "value[0].maxmem_kib", "1", "2"))


def test_every_line_has_a_reason() -> None:
    assert excuses(RELEASE)
    assert all(excuse.reason for excuse in excuses(RELEASE))
