"""Values that another build of libxl writes, and values that no message may show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyxen import DomainConfig, Vnc, libxljson
from pyxen.config import Disk, Pci, Rate, Vif, Virtio, Vkb, VNode
from pyxen.config.cpuid import CpuidLeaf, CpuidPolicy, MsrPolicy
from pyxen.config.media import Connector, Vdispl, Vsnd, VsndParams
from pyxen.config.platform import IoportRange
from pyxen.errors import ConfigError, LossyConversion, ParseError
from pyxen.losses import LossWarning

SECRET = "hunter2"  # noqa: S105 (it guards nothing)


def domain(hvm: Any = None, **b_info: Any) -> dict[str, Any]:
    return {"c_info": {"type": "hvm", "name": "a"}, "b_info": {"type.hvm": hvm or {}} | b_info}


@pytest.mark.parametrize(
    ("key", "written", "field", "read"),
    [
        ("max_grant_frames", -1, "max_grant_frames", None),
        ("max_grant_frames", -2, "max_grant_frames", "max_grant_frames: 4294967294 is out of range"),
        ("xenstore_feature_mask", -16, "xenstore_feature_mask", 2**32 - 16),
        ("xenstore_feature_mask", -1, "xenstore_feature_mask", None),
        ("exec_ssidref", -5, "exec_ssidref", 2**32 - 5),
        ("rtc_timeoffset", -3600, "rtc_timeoffset", -3600),
        ("rtc_timeoffset", 2**32 - 3600, "rtc_timeoffset", -3600),
        ("max_grant_version", -1, "max_grant_version", None),
    ],
)
def test_unsigned_numbers_that_were_written_with_a_sign(key: str, written: int, field: str, read: Any) -> None:
    document = domain(**{key: written})
    if isinstance(read, str):
        with pytest.raises(ConfigError, match=read):
            libxljson.from_dict(document)
    else:
        assert getattr(libxljson.from_dict(document), field) == read


LARGE = 2**32 - 2


def as_by_json_c(value: Any) -> Any:
    """Return a document as a libxl with json-c writes it: unsigned numbers of 32 bits with a sign."""
    if isinstance(value, dict):
        return {key: as_by_json_c(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_by_json_c(item) for item in value]
    return value - 2**32 if type(value) is int and 2**31 <= value < 2**32 else value


@pytest.mark.parametrize(
    "settings",
    [
        {"cpuid": "host,nx=0"},
        {"cpuid": CpuidPolicy(leaves=[CpuidLeaf(leaf=LARGE, subleaf=LARGE, eax="x" * 32)])},
        {"cpuid": CpuidPolicy(msrs=[MsrPolicy(index=0xC0000080, policy="x" * 64)])},
        {"pcis": [Pci("03:00.*")]},
        {"pcis": [Pci("03:00.*", vslot=5), Pci("04:00.1")]},
        {"xenstore_quota": {"nodes": LARGE, "watches": 5}},
        {"xenstore_feature_mask": LARGE},
        {"irqs": [5, LARGE]},
        {"llc_colors": [5, LARGE]},
        {"ioports": [IoportRange(first=LARGE, number=LARGE)]},
        {"vifs": [Vif(rate=Rate(bytes_per_interval=1, interval_usecs=LARGE))]},
        {"disks": [Disk("/a", vdev="xvda", irq=LARGE)]},
        {"virtios": [Virtio(type="virtio,device22", irq=LARGE)]},
        {"vcpus": 2, "vnuma": [VNode(vcpus="0-1", size=1, pnode=LARGE, distances=[LARGE])]},
        {"vdispls": [Vdispl(connectors=[Connector("a", width=LARGE, height=LARGE)])]},
        {"vsnds": [Vsnd(params=VsndParams(sample_rates=[LARGE], channels_min=LARGE, channels_max=LARGE))]},
        {"vsnds": [Vsnd(params=VsndParams(buffer_size=LARGE))]},
        {"domid": LARGE, "poolid": LARGE, "ssidref": LARGE, "exec_ssidref": LARGE, "max_event_channels": LARGE},
    ],
    ids="-".join,
)
def test_json_c_changes_nothing(settings: dict[str, Any]) -> None:
    config = DomainConfig("a", type="hvm", **settings)
    written = libxljson.to_dict(config, on_loss="ignore")
    signed = as_by_json_c(written)
    assert signed != written
    assert libxljson.from_dict(signed) == libxljson.from_dict(written)
    for field in settings:
        assert getattr(libxljson.from_dict(signed), field) == getattr(config, field)


def test_a_keyboard_by_json_c() -> None:
    vkb = Vkb(width=LARGE, height=LARGE, multi_touch_width=LARGE, multi_touch_height=LARGE, multi_touch_num_contacts=9)
    assert libxljson.device_from_dict(Vkb, as_by_json_c(libxljson.device_to_dict(vkb))) == vkb


def test_a_number_with_a_sign_that_does_not_fit_is_still_wrong() -> None:
    with pytest.raises(ConfigError, match="exec_ssidref"):
        libxljson.from_dict(domain(exec_ssidref=-(2**31) - 1))


@pytest.mark.parametrize(
    "hvm",
    [
        {"vnc": SECRET},
        {"vnc": {"password": SECRET}},
        {"vnc": {"enable": SECRET}},
        {"spice": {"port": SECRET}},
        {"spice": {"passwd": [SECRET]}},
        {"secret": SECRET},
        {"vncpasswd": SECRET},
        {"boot": ["x"], "x": f"rbd:pool/a:key={SECRET}"},
    ],
    ids=json.dumps,
)
def test_no_message_shows_a_password(hvm: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        libxljson.from_dict(domain(hvm))
    assert SECRET not in str(caught.value)


def test_a_frame_buffer_of_another_guest_type_shows_no_password() -> None:
    config = DomainConfig("a", type="pv", kernel="/k", vnc=Vnc(enable=True, passwd=SECRET))
    assert SECRET not in str(libxljson.losses(config))


def test_a_value_elsewhere_is_shown() -> None:
    with pytest.raises(ConfigError, match=r"b_info\.max_memkb: takes a whole number, not 512"):
        libxljson.from_dict(domain(max_memkb="512"))


@pytest.mark.parametrize(
    "text", ['{"%s": 1, "%s": 2}', '{"c_info": {"xsdata": {"%s": 3}}}', '{"c_info": {"name": "a", "%s": 3}}']
)
def test_a_long_key_is_cut_in_messages(text: str) -> None:
    long = "k" * 400
    with pytest.raises(ConfigError) as caught:
        libxljson.loads(text.replace("%s", long))
    assert "kkk" in str(caught.value)
    assert long not in str(caught.value)


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(ParseError, match="not UTF-8: byte 2 is 0xff"):
        libxljson.loads(b'{"\xff": 1}')


@pytest.mark.parametrize("depth", [900, 1900, 100_000])
def test_json_nested_deeply(depth: int) -> None:
    text = '{"c_info": {"type": "pv", "name": "a"}, "b_info": {}, "odd": ' + "[" * depth + "]" * depth + "}"
    try:
        assert libxljson.loads(text, on_loss="ignore").name == "a"
    except ParseError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017 (either is right: the depth that Python reads varies)


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (f'{{"a": "{DIGITS}",\n "b": {DIGITS}}}', (2, 7), "more than 4300 digits; libxl's have at most 20"),
        (f'[1, "\\"{DIGITS}",\n\n -{DIGITS}]', (3, 2), "more than 4300 digits"),
        ('{"NaN": "NaN",\n  "b": NaN}', (2, 8), "NaN is not valid"),
        ('["Infinity", -Infinity]', (1, 14), "-Infinity is not valid"),
    ],
)
def test_numbers_that_no_configuration_has_are_shown_with_their_place(
    text: str, place: tuple[int, int], reason: str
) -> None:
    with pytest.raises(ParseError, match=reason) as caught:
        libxljson.loads(text, source="web.json")
    assert (caught.value.line, caught.value.column) == place
    assert str(caught.value).startswith(f"web.json:{place[0]}:{place[1]}: ")


def test_a_value_that_is_not_valid_is_shown_with_its_file() -> None:
    with pytest.raises(ParseError, match=r"^web\.json: b_info\.max_memkb: takes a whole number") as caught:
        libxljson.loads(json.dumps(domain(max_memkb="x")), source="web.json")
    assert caught.value.path == "b_info.max_memkb"


@pytest.mark.parametrize("read", [libxljson.loads, libxljson.loads_list])
def test_a_loss_is_shown_with_its_file(read: Any) -> None:
    text = json.dumps(domain(of_the_future=1))
    with pytest.raises(LossyConversion, match=r"^web\.json: "):
        read(text, source="web.json")
    with pytest.warns(LossWarning, match=r"^web\.json: b_info\.of_the_future"):
        read(text, source="web.json", on_loss="warn")
