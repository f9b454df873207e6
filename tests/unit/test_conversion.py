"""One spelling into another, and into Python."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyxen
from pyxen import libvirtxml, libxljson, xlcfg
from pyxen.config import DomainConfig, Vif, Viridian, Vnc
from pyxen.conversion import Spelling, convert, guess, to_python
from pyxen.errors import ConfigError
from pyxen.testing.strategies import domain_configs

CONFIG = DomainConfig(
    "web1", type="hvm", memory=512, vcpus=2, vifs=[Vif("xenbr0", rate="10MB/s")], vnc=Vnc(enable=True, unused=True)
)
TEXTS: dict[Spelling, str] = {
    "xl": xlcfg.dumps(CONFIG),
    "libvirt-xml": libvirtxml.dumps(CONFIG, on_loss="ignore"),
    "json": libxljson.dumps(CONFIG),
}


def run(code: str) -> DomainConfig:
    """Run code that makes a configuration."""
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (what it is for)
    config = names["config"]
    assert isinstance(config, DomainConfig)
    return config


@pytest.mark.parametrize("from_", TEXTS)
@pytest.mark.parametrize("to", [*TEXTS, "python"])
def test_every_spelling_into_every_other(from_: Spelling, to: Spelling) -> None:
    assert guess(TEXTS[from_]) == from_
    for text in (TEXTS[from_], TEXTS[from_].encode()):
        written, _ = convert(text, to=to)
        config = run(written) if to == "python" else _read(written, to)
        assert (config.name, config.type, config.vcpus, config.vifs[0].bridge) == ("web1", "hvm", 2, "xenbr0")


def _read(text: str, spelling: str) -> DomainConfig:
    codec: Any = {"xl": xlcfg, "libvirt-xml": libvirtxml, "json": libxljson}[spelling]
    config: DomainConfig = codec.loads(text)
    return config


def test_losses_of_both_ways() -> None:
    text = libvirtxml.dumps(DomainConfig("web1", memory=512, kernel="/k")).replace("<vcpu", "<genid/>\n  <vcpu")
    _, losses = convert(text, "libvirt-xml")
    assert [loss.path for loss in losses] == ["genid[1]"]
    _, losses = convert('name="web1"\nkernel="/k"\npool="fast"\nnosuchkey=1\n', to="libvirt-xml")
    assert len(losses) == 2
    assert "nosuchkey" in losses[0].path
    assert losses[1].path == "pool"


@pytest.mark.parametrize(("to", "from_"), [("yaml", "xl"), ("xl", "yaml"), ("xl", "python")])
def test_spellings_that_are_none(to: Spelling, from_: Spelling) -> None:
    with pytest.raises(ConfigError):
        convert(TEXTS["xl"], to, from_)


@given(st.binary(max_size=100), st.sampled_from([None, "xl", "libvirt-xml", "json"]))
@settings(deadline=None)
def test_any_bytes(data: bytes, from_: Spelling | None) -> None:
    try:
        convert(data, "python", from_)
    except ConfigError:
        return


def test_python_reads_well() -> None:
    assert to_python(CONFIG) == (
        "from pyxen import DomainConfig, Vif, Vnc\n"
        "\n"
        "config = DomainConfig(\n"
        '    "web1",\n'
        '    type="hvm",\n'
        "    memory=512,\n"
        "    vcpus=2,\n"
        "    vnc=Vnc(enable=True, unused=True),\n"
        '    vifs=[Vif("xenbr0", rate="10MB/s")],\n'
        ")\n"
    )
    assert to_python(DomainConfig("a")) == 'from pyxen import DomainConfig\n\nconfig = DomainConfig("a")\n'
    assert 'enable="all"' in to_python(DomainConfig("a", viridian=Viridian(enable="all")))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain_configs())
def test_python_makes_the_same_configuration(config: DomainConfig) -> None:
    code = to_python(config)
    assert run(code) == config
    assert all(len(line) <= 120 for line in code.splitlines() if line.count('"') < 2)


def test_a_password_is_in_the_code() -> None:
    phrase = 'a"b\\c\N{SNOWMAN}'
    assert run(to_python(DomainConfig("a", vnc=Vnc(passwd=phrase)))).vnc.passwd == phrase


def test_the_module_is_there_after_importing_pyxen() -> None:
    assert pyxen.convert is convert
