"""What `pyxen.libxljson` writes is what libxl reads, to the last field: libxl writes the same back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import libxljson
from pyxen.config import DomainConfig, Part, newer_than
from pyxen.testing.strategies import domain_configs
from tests.oracle.compare import without_no_spis
from tests.oracle.libxl_json import LibxlJsonOracle
from tests.oracle.server import Refused
from tests.oracle.setup import RELEASES
from tests.oracle.xl import XlOracle

LARGE = [HealthCheck.too_slow, HealthCheck.data_too_large]
SLOW = settings(max_examples=400, deadline=None, suppress_health_check=LARGE)


@pytest.fixture(scope="session", params=list(RELEASES))
def libxl(request: pytest.FixtureRequest) -> Iterator[tuple[str, LibxlJsonOracle]]:
    """The real libxl, of each Xen release in turn."""
    with LibxlJsonOracle(request.param) as oracle:
        yield request.param, oracle


def as_of(release: str, value: Any) -> Any:
    """Return a part without what is newer than a Xen release."""
    if isinstance(value, tuple):
        return tuple(as_of(release, item) for item in value)
    if not isinstance(value, Part):
        return value
    newer = {problem.path for problem in newer_than(value, release)}
    return type(value)(**{name: as_of(release, inner) for name, inner in value.non_defaults() if name not in newer})


def without_empty(document: Any) -> Any:
    """Return JSON without the empty structs that libxl writes and does not need."""
    if isinstance(document, list):
        return [without_empty(item) for item in document]
    if not isinstance(document, dict):
        return document
    kept = {key: without_empty(value) for key, value in document.items()}
    return {key: value for key, value in kept.items() if value != {} or key.startswith(("type.", "connection."))}


def test_libxl_reads_all_of_it_and_writes_the_same(libxl: tuple[str, LibxlJsonOracle]) -> None:
    release, oracle = libxl

    @SLOW
    @given(domain_configs(resolved=True))
    def check(config: DomainConfig) -> None:
        older = without_no_spis(as_of(release, config))
        document = libxljson.to_dict(older)
        answer = oracle.round_trip(document)
        assert isinstance(answer, dict), answer
        assert without_empty(answer) == document
        assert libxljson.from_dict(answer) == older.canonical()

    check()


def test_what_xl_prints_is_read_without_loss(xl: XlOracle) -> None:
    answer = xl.create(
        """
        name="everything"
        type="hvm"
        memory=512
        maxmem=1024
        vcpus=2
        maxvcpus=4
        cpus=["0", "1-3,^2"]
        cpuid="host,tm=0,sse3=k,stepping=3"
        disk=["/dev/vg/web,raw,xvda,rw", "/a.iso,raw,hdc:cdrom,r", ",hdd:cdrom,r"]
        vif=["mac=00:16:3e:00:00:01,rate=10MB/s@20ms,devid=5", ""]
        pci=["03:00.0,permissive=1", "0001:04:00.*@1f", "name=card"]
        vfb=["vnc=1"]
        vkb=["backend-type=linux"]
        usbctrl=["type=devicemodel,version=3"]
        usbdev=["type=hostdev,hostbus=1,hostaddr=2"]
        channel=["connection=pty,name=a", "connection=socket,path=/x,name=b"]
        vsnd=[["CARD,short-name=a", "PCM,name=x", "STREAM,unique-id=9,type=c"]]
        vdispl=["backend=d,connectors=a:10x20;b:20x30"]
        viridian=["all", "!synic", "defaults"]
        init_seclabel="one"
        seclabel="two"
        rtc_timeoffset="-3600"
        """
    )
    assert isinstance(answer, dict)
    config = libxljson.from_dict(answer)
    assert without_empty(answer) == libxljson.to_dict(config)
    assert config.vifs[0].devid == 5
    assert config.vifs[1].devid is None
    assert config.rtc_timeoffset == -3600
    assert config.disks[2].format == "empty"


def test_every_name_of_cpuid_means_what_libxl_takes_it_for(xl: XlOracle) -> None:
    from pyxen.config.cpuid_flags import features

    known = 0
    for name in features():
        for value in ("1", "k", "0x1f"):
            text = f"host,{name}={value}"
            answer = xl.create(f'name="x"\nkernel="/k"\ncpuid="{text}"\n')
            assert not isinstance(answer, Refused)
            if "error" in xl.messages():  # newer than this release; or an msr, which takes no number
                continue
            known += 1
            ours = libxljson.to_dict(DomainConfig("x", cpuid=text))
            assert ours["b_info"].get("cpuid") == answer["b_info"].get("cpuid"), text
    assert known > 700
