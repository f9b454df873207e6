"""``memory:///`` and what may follow."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyxen
from pyxen import FileMissing, InvalidArgument
from tests.unit.memory.configs import config


def test_a_new_host_each_time() -> None:
    with pyxen.connect("memory:///") as one, pyxen.connect("memory:///") as other:
        one.create(config())
        assert len(other.domains) == 1


def test_one_of_a_name_stays() -> None:
    with pyxen.connect("memory:///stays?memory=1024&cpus=2&seed=7") as host:
        host.create(config())
        assert host.uri == "memory:///stays"
        assert (host.info().memory_kib, host.info().nr_cpus) == (1024 * 1024, 2)
    with pyxen.connect("memory:///stays") as again, pyxen.connect("memory:///stays?memory=1024&cpus=2&seed=7") as third:
        assert again.domains["web1"].uuid == third.domains["web1"].uuid
        assert again.domains["web1"].config().name == "web1"
    with pytest.raises(InvalidArgument, match="already exists"):
        pyxen.connect("memory:///stays?memory=2048")


def test_the_files_of_this_machine(tmp_path: Path) -> None:
    with pyxen.connect("memory:///?files=here") as host:
        with pytest.raises(FileMissing):
            host.create(config(kernel="/no/such/kernel"))
        (tmp_path / "kernel").touch()
        host.create(config(kernel=str(tmp_path / "kernel")))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("memory://host/", "use memory:///"),
        ("memory:///a/b", "use memory:///"),
        ("memory:///#a", "use memory:///"),
        ("memory:///?memory=lots", "use a whole number, at least 512"),
        ("memory:///?memory=-1", "use a whole number, at least 512"),
        ("memory:///?memory=100", "use a whole number, at least 512"),
        ("memory:///?nodes=0", "use a whole number, at least 1"),
        ("memory:///?nodes=5", "nodes=5, cpus=4"),
        ("memory:///?cpus=0", "use a whole number, at least 1"),
        ("memory:///?cpus=", "use a whole number, at least 1"),
        ("memory:///?cpus=1&cpus=2", "given twice"),
        ("memory:///?files=some", "use any"),
        ("memory:///?colour=red", "colour is not an option; the options are memory, cpus, nodes, seed, files, bridges"),
    ],
)
def test_nonsense(uri: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        pyxen.connect(uri)
