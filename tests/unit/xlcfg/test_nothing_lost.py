"""Texts that older xls read as they were meant, and values that can be said only nearly."""

from __future__ import annotations

import pytest

from pyxen import DomainConfig, libxljson, xlcfg
from pyxen.errors import LossyConversion, ParseError

PV = DomainConfig("a", kernel="/k")


@pytest.mark.parametrize("field", ["cpus", "cpus_soft"])
def test_vcpus_is_written_where_an_older_xl_ignores_pinning_without_it(field: str) -> None:
    text = xlcfg.dumps(PV.replace(**{field: "2-3"}))
    assert "vcpus = 1\n" in text
    assert xlcfg.loads(text) == PV.replace(**{field: "2-3"})
    assert "vcpus" not in xlcfg.dumps(PV)


@pytest.mark.parametrize(("memory", "written"), [(500.5, 501), (0.25, 1), (512.0, 512)])
def test_a_part_of_a_mib_is_rounded_up_and_told(memory: float, written: int) -> None:
    config = PV.replace(memory=memory)
    assert xlcfg.loads(xlcfg.dumps(config, on_loss="ignore")).memory == written
    assert [loss.path for loss in xlcfg.losses(config)] == ([] if memory == written else ["memory"])
    if memory != written:
        with pytest.raises(LossyConversion, match="whole MiB"):
            xlcfg.dumps(config)


def test_what_xl_adds_by_itself_is_no_loss() -> None:
    config = PV.replace(claim_mode=False, run_hotplug_scripts=True, nomigrate=False)
    assert xlcfg.losses(config) == ()
    assert [loss.path for loss in xlcfg.losses(PV.replace(run_hotplug_scripts=False))] == ["run_hotplug_scripts"]


def test_the_value_of_what_xl_would_refuse_is_its_own() -> None:
    (loss,) = xlcfg.losses(DomainConfig("vm1", type="pvh"))
    assert (loss.path, loss.value) == ("kernel", "")


@pytest.mark.parametrize("depth", [100, 1900, 4000])
def test_lists_in_lists(depth: int) -> None:
    text = f"name='a'\nkernel='/k'\nodd={'[' * depth}{']' * depth}\n"
    assert xlcfg.loads(text, on_loss="ignore") == PV
    assert [found.line for found in xlcfg.lint(text) if "odd" in found.message] == [3]


def test_the_source_is_in_the_error() -> None:
    with pytest.raises(ParseError, match=r"web\.cfg:2") as caught:
        xlcfg.loads("name='a'\nkernel=\n", source="web.cfg")
    assert caught.value.source == "web.cfg"


def test_a_key_that_is_there_twice_at_the_end_of_many() -> None:
    many = ",".join(f'"k{number}":1' for number in range(40_000))
    with pytest.raises(ParseError, match="'k7' is there twice"):
        libxljson.loads(f'{{{many},"k7":2}}')
