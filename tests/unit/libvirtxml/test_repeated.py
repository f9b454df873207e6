"""Elements that stand there twice: libvirt joins some of them, and of the others reads the first alone."""

from __future__ import annotations

from typing import Any

import pytest

from pyxen import libvirtxml
from pyxen.config import CpuSet, DeviceModel, DomainConfig, Passthrough
from pyxen.errors import LossyConversion, ParseError
from tests.unit.libvirtxml.documents import hvm, read_hvm

XEN = "http://libvirt.org/schemas/domain/xen/1.0"
JOINED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "features": (
        "<features><acpi/></features><features><acpi/><apic/></features>",
        "",
        {"acpi": True, "apic": True, "hap": None},
    ),
    "the last of each feature": (
        (
            "<features><hap state='on'/><xen><passthrough state='on'/></xen></features>"
            "<features><hap state='off'/><xen><passthrough state='off'/><e820_host state='on'/></xen></features>"
        ),
        "",
        {"hap": False, "passthrough": Passthrough.DISABLED, "e820_host": True},
    ),
    "enlightenments": (
        (
            "<features><hyperv><vapic state='on'/><ipi state='on'/></hyperv></features>"
            "<features><hyperv><ipi state='off'/><frequencies state='on'/></hyperv></features>"
        ),
        "",
        {"viridian": {"enable": ["base", "crash_ctl", "apic_assist", "freq"]}},
    ),
    "os": ("<os><cmdline>a</cmdline></os><os><boot dev='cdrom'/></os>", "", {"cmdline": "a", "boot": "d"}),
    "clock": (
        "<clock offset='localtime'/><clock><timer name='hpet' present='no'/></clock>",
        "",
        {"localtime": True, "hpet": False},
    ),
    "cputune": (
        "<vcpu>2</vcpu><cputune><shares>512</shares></cputune><cputune><vcpupin vcpu='0' cpuset='3'/></cputune>",
        "",
        {"scheduler": {"weight": 512}, "cpus": [CpuSet("3")]},
    ),
    "devices": ("<devices><sound model='ac97'/></devices>", "<sound model='sb16'/>", {"soundhw": "ac97"}),
    "arguments": (
        (
            f"<q:commandline xmlns:q='{XEN}'><q:arg value='-a'/></q:commandline>"
            f"<q:commandline xmlns:q='{XEN}'><q:arg value='-b'/></q:commandline>"
        ),
        "",
        {"device_model": DeviceModel(args=["-a", "-b"])},
    ),
}


@pytest.mark.parametrize(("inside", "devices", "fields"), JOINED.values(), ids=JOINED)
def test_what_libvirt_joins(inside: str, devices: str, fields: dict[str, Any]) -> None:
    config = libvirtxml.loads(hvm(inside, devices), on_loss="ignore")
    wanted = DomainConfig("web1", type="hvm", **fields)
    assert {name: getattr(config, name) for name in fields} == {name: getattr(wanted, name) for name in fields}
    if "sound" not in devices:
        read_hvm(inside, devices)


FIRST = {
    "another offset": ("<clock offset='utc'/><clock offset='localtime'/>", "clock[2]/@offset"),
    "another kernel": ("<os><kernel>/a</kernel></os><os><kernel>/b</kernel></os>", "os[1]/kernel[2]"),
    "other shares": (
        "<cputune><shares>512</shares></cputune><cputune><shares>7</shares></cputune>",
        "cputune[1]/shares[2]",
    ),
    "a name": ("<name>web2</name>", "name[2]"),
    "memory": ("<memory>7</memory>", "memory[2]"),
    "vcpu": ("<vcpu>2</vcpu><vcpu>4</vcpu>", "vcpu[2]"),
    "cpu": ("<cpu mode='host-passthrough'/><cpu mode='host-passthrough'/>", "cpu[2]"),
    "numa": (
        "<cpu><numa><cell cpus='0' memory='524288'/></numa><numa><cell cpus='0' memory='1'/></numa></cpu>",
        "cpu[1]/numa[2]",
    ),
    "an action": ("<on_crash>destroy</on_crash><on_crash>restart</on_crash>", "on_crash[2]"),
    "tables": (
        "<os><acpi><table type='slic'>/a</table></acpi></os><os><acpi><table type='slic'>/b</table></acpi></os>",
        "os[1]/acpi[1]/table[2]",
    ),
    "words between": ("<features/><features>apic</features>", "features[2]"),
}


@pytest.mark.parametrize(("inside", "path"), FIRST.values(), ids=FIRST)
def test_what_is_not_read_of_a_second_one_is_told(inside: str, path: str) -> None:
    with pytest.raises(LossyConversion) as caught:
        libvirtxml.loads(hvm(inside))
    assert [loss.path for loss in caught.value.losses] == [path]


@pytest.mark.parametrize("tag", ["features", "os", "clock", "cputune", "devices"])
def test_a_document_with_two_sections_is_not_patched(tag: str) -> None:
    text = hvm("<features/><clock/><cputune/>").replace(f"<{tag}", f"<{tag}/>\n<{tag}", 1)
    config = libvirtxml.loads(text)
    assert libvirtxml.patch(text, config) == text
    with pytest.raises(ParseError, match=f"join the 2 <{tag}>") as caught:
        libvirtxml.patch(text, config.replace(memory=400))
    assert caught.value.line


def test_a_table_of_a_guest_without_acpi_is_told() -> None:
    text = "<domain type='xen'><name>a</name><os><type>linux</type><kernel>/k</kernel><acpi>{}</acpi></os></domain>"
    libvirtxml.loads(text.format(""))
    with pytest.raises(LossyConversion, match="table"):
        libvirtxml.loads(text.format("<table type='slic'>/slic</table>"))
