"""Settings beside the file, as ``xl create web1.cfg 'memory=512'``, against the real xl."""

from __future__ import annotations

import pytest

from pyxen import ParseError, xlcfg
from pyxen.config import DomainConfig
from tests.oracle.compare import difference, ours
from tests.oracle.setup import RELEASES
from tests.oracle.xl import XlOracle

WEB = 'name="web1"\ntype="pvh"\nkernel="/k"\nmemory=64\n'
TEXTS = (WEB, WEB.rstrip(), f"{WEB}vcpus=2 # no end of the line", f'{WEB}disk=["/a,raw,xvda",', "", "memory=64")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "overrides",
    [
        ["memory=512"],
        ["memory=512", "vcpus=2", 'name="web2"'],
        ["name=web2"],
        ["memory="],
        ["memory=512;vcpus=3"],
        ["memory=128\nvcpus=4"],
        ["disk=[ '/a,raw,xvda', ]"],
        ['cmdline+=" quiet"'],
        ["=5"],
        ["vcpus=2", "cpus=['1']", "cpus='2-3'"],
        ["# a=b"],
        ["'/b,raw,xvdb' ] # ="],
        ['name="web3"', 'kernel="/k"', 'type="pv"', "memory=32"],
    ],
    ids=str,
)
def test_overrides_mean_what_they_mean_to_xl(release: str, overrides: list[str]) -> None:
    with XlOracle(release, overrides) as xl:
        found = [each for text in TEXTS if (each := difference(xl, text, overrides)) is not None]
    assert found == []


def test_the_last_setting_counts() -> None:
    config = ours(WEB, ["memory=128", "memory=256"])
    assert isinstance(config, DomainConfig)
    assert config.memory == 256


@pytest.mark.parametrize("text", [WEB, WEB.rstrip()])
def test_an_error_in_an_override_names_it(text: str) -> None:
    with pytest.raises(ParseError) as error:
        xlcfg.loads(text, overrides=["memory=128", "vcpus="], source="web1.cfg")
    assert str(error.value).startswith("overrides:2:")
    with pytest.raises(ParseError, match=r"^web1\.cfg:1:"):
        xlcfg.loads(f"a b\n{text}", overrides=["memory=128"], source="web1.cfg")


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(ParseError, match=r"^overrides:2: '512' is not a setting such as 'memory=512'"):
        xlcfg.loads(WEB, overrides=["memory=128", "512"])
    with pytest.raises(TypeError, match="a list of texts"):
        xlcfg.loads(WEB, overrides="memory=512")
