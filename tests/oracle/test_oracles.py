"""The oracles are what they claim to be: the real programs of their release."""

from __future__ import annotations

import time

from tests.oracle.server import Refused
from tests.oracle.xl import HOST_CPUS, HOST_NODES, XlOracle
from tests.oracle.xlu import XluOracle

MINIMAL = 'name="x"\nkernel="/k"\nmemory=512\nvcpus=2\n'


def test_xl_prints_what_it_parsed(xl: XlOracle) -> None:
    answer = xl.create(MINIMAL)
    assert isinstance(answer, dict)
    assert answer["c_info"]["name"] == "x"
    assert answer["b_info"]["target_memkb"] == 512 * 1024
    assert "warning" not in xl.messages().lower()


def test_xl_refuses_and_says_why(xl: XlOracle) -> None:
    answer = xl.create("memory=512\n")
    assert isinstance(answer, Refused)
    assert not answer.crashed
    assert "Domain name must be specified" in answer.messages


def test_xl_believes_in_the_stubs_host(xl: XlOracle) -> None:
    answer = xl.create(MINIMAL + 'cpus="nodes:1"\n')
    assert isinstance(answer, dict)
    per_node = HOST_CPUS // HOST_NODES
    assert answer["b_info"]["vcpu_hard_affinity"][0] == list(range(per_node, 2 * per_node))


def test_the_releases_differ(xl: XlOracle) -> None:
    answer = xl.disk("/x,raw,xvda,trusted")
    assert isinstance(answer, Refused) == (xl.release == "4.17")


def test_xl_parses_devices(xl: XlOracle) -> None:
    disk = xl.disk("/dev/vg/x,raw,xvda,r")
    assert isinstance(disk, dict)
    assert disk["pdev_path"] == "/dev/vg/x"
    vif = xl.vif("bridge=xenbr0")
    assert isinstance(vif, dict)
    assert vif["bridge"] == "xenbr0"


def test_libxlutil_lists_every_setting(xlu: XluOracle) -> None:
    assert xlu.parse('a=0x10\nb=[ "1", [2], ]\nc="x"\nc+="y"\n') == {
        "a": {"string": "0x10", "number": 16},
        "b": {"list": ["1", ["2"]]},
        "c": {"string": "xy"},
    }


def test_libxlutil_refuses_and_says_where(xlu: XluOracle) -> None:
    answer = xlu.parse("a=1\nb=-1\n")
    assert isinstance(answer, Refused)
    assert "text:2: config parsing error" in answer.messages


def test_a_crash_of_the_oracle_is_an_answer(xlu: XluOracle) -> None:
    answer = xlu.parse(b'a="\x00"\n')
    assert isinstance(answer, Refused)
    assert answer.crashed


def test_thousands_of_answers_take_seconds(xl: XlOracle) -> None:
    start = time.perf_counter()
    for _ in range(200):
        xl.create(MINIMAL)
    assert time.perf_counter() - start < 10
