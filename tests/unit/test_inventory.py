"""Inventories of hosts: pyxen's own files, and what ansible-inventory prints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import FileMissing, Hosts, InvalidArgument, NotFound, ParseError


def uris(folder: Path, text: str, group: str | None = None) -> dict[str, str]:
    path = folder / "inventory"
    path.write_text(text)
    return Hosts.load(path, group=group).uris


def ansible(hostvars: dict[str, dict[str, Any]], **groups: dict[str, list[str]]) -> str:
    """Return what ``ansible-inventory --list`` prints."""
    return json.dumps({"_meta": {"hostvars": hostvars}, **groups})


def test_a_file_of_pyxens_own(tmp_path: Path) -> None:
    text = '# ours\nhost1 = "xenlight:///"\n"host2.example.org" = "xen+ssh://root@host2/system"\n'
    expected = {"host1": "xenlight:///", "host2.example.org": "xen+ssh://root@host2/system"}
    assert uris(tmp_path, text) == expected
    assert list(uris(tmp_path, text)) == list(expected)


@pytest.mark.parametrize(
    ("variables", "uri"),
    [
        ({}, "xenlight+ssh://h/"),
        (
            {"ansible_host": "192.0.2.7", "ansible_user": "root", "ansible_port": 2222},
            "xenlight+ssh://root@192.0.2.7:2222/",
        ),
        ({"ansible_host": "fe80::1", "ansible_port": "22"}, "xenlight+ssh://[fe80::1]:22/"),
        ({"ansible_user": "a@b/c"}, "xenlight+ssh://a%40b%2Fc@h/"),
        ({"ansible_connection": "local"}, "xenlight:///"),
        ({"ansible_host": "{{ x }}", "pyxen_uri": "memory:///h"}, "memory:///h"),
    ],
)
def test_a_host_of_ansible_is_reached_as_ansible_does(tmp_path: Path, variables: dict[str, Any], uri: str) -> None:
    assert uris(tmp_path, ansible({"h": variables}, all={"hosts": ["h"]})) == {"h": uri}


def test_a_group_of_ansible_has_the_hosts_of_its_groups(tmp_path: Path) -> None:
    text = ansible(
        {},
        all={"children": ["ungrouped", "xen", "web"]},
        xen={"children": ["rack1", "rack2"]},
        rack1={"hosts": ["a", "b"]},
        rack2={"hosts": ["b", "c"], "children": ["xen"]},
        web={"hosts": ["w"]},
    )
    assert list(uris(tmp_path, text, "xen")) == ["a", "b", "c"]
    assert list(uris(tmp_path, text)) == ["a", "b", "c", "w"]
    with pytest.raises(NotFound, match="no group 'db'"):
        uris(tmp_path, text, "db")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no host"),
        ("# nothing\n", "names no host"),
        ('a = "memory:///"\na = "memory:///b"\n', "Cannot overwrite a value.*line 2"),
        ("host1\n", "line 1.*a host is a line such as"),
        ("[xen]\nhost1 ansible_host=192.0.2.7\n", "what ansible-inventory --list prints"),
        ('host2.example.org = "memory:///"\n', "'host2' is a table.*in quotes"),
        ("a = 7\n", "'a': int is not a URI"),
        ('a = "here"\n', "'a': 'here' is not a URI"),
        ('"" = "memory:///"\n', "'' is not the name of a host"),
        ("{", ":1:2: it is not JSON"),
        ('{"a":' * 200_000, "nested too deep"),
        ("a = " + "[" * 5000, "nested too deep"),
        pytest.param("a = " + "1" * 5000, "too many digits", id="digits of TOML"),
        pytest.param('{"a": ' + "1" * 5000 + "}", "too many digits", id="digits of JSON"),
        ('{"all": {}}', "no _meta"),
        ('{"_meta": {"hostvars": {"a": {}, "a": {}}}, "all": {}}', "'a' is there twice"),
        ('{"_meta": {}, "all": {}}', "names no host"),
        ('{"_meta": [], "all": {"hosts": ["a"]}}', "'_meta' is not an object"),
        ('{"_meta": {}, "all": {"hosts": [7]}}', "'all' has members that are not names"),
        (
            ansible({"a": {"ansible_host": "-oProxyCommand=x"}}, all={"hosts": ["a"]}),
            "is not an address: set pyxen_uri",
        ),
        (ansible({"a": {"ansible_host": "h/../x"}}, all={"hosts": ["a"]}), "is not an address"),
        (ansible({"a": {"ansible_host": "{{ name }}"}}, all={"hosts": ["a"]}), "is not an address"),
        (ansible({"a": {"ansible_user": "{{ name }}"}}, all={"hosts": ["a"]}), "ansible_user is a template"),
        (ansible({"a": {"ansible_port": "ssh"}}, all={"hosts": ["a"]}), "is not a port"),
        (ansible({"a": {"ansible_port": 0}}, all={"hosts": ["a"]}), "is not a port"),
        (ansible({"a": {"pyxen_uri": 7}}, all={"hosts": ["a"]}), "'7' is not a URI"),
    ],
)
def test_a_wrong_inventory_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ParseError, match=says) as caught:
        uris(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/inventory")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    kinds = {"fifo": InvalidArgument, ".": InvalidArgument, "no": FileMissing}
    for name, kind in kinds.items():
        with pytest.raises(kind, match=r"not a regular file|there is no file"):
            Hosts.load(tmp_path / name)
    with pytest.raises(FileMissing) as caught:
        Hosts.load(tmp_path / "no")
    assert caught.value.filename == str(tmp_path / "no")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(ParseError, match="more than 32 MiB"):
        Hosts.load(path)


def test_bytes_that_are_no_text_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1"
    path.write_bytes(b'a = "memory:///"\nb = "\xe9"\n')
    with pytest.raises(ParseError, match=":2: it is not UTF-8"):
        Hosts.load(path)


def test_groups_are_ansibles(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="group='xen': only what ansible-inventory"):
        uris(tmp_path, 'a = "memory:///"', "xen")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "names no host"),
        ({7: "memory:///"}, "7 is not the name"),
        (["memory:///"], "not list"),
        (None, "not None"),
    ],
)
def test_a_wrong_mapping_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Hosts(given)


@pytest.mark.parametrize(
    "wrong", [{"at_once": 0}, {"at_once": 1025}, {"at_once": 1.5}, {"timeout": -1}, {"timeout": "1"}]
)
def test_wrong_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Hosts({"a": "memory:///"}, **wrong)


def test_a_name_that_is_there_twice_among_many(tmp_path: Path) -> None:
    """To look at all names for each would take hours."""
    names = [f"host{number}" for number in range(200_000)]
    path = tmp_path / "hosts.json"
    path.write_text("{" + ", ".join(f'"{name}": 1' for name in [*names, names[-1]]) + "}")
    with pytest.raises(ParseError, match="host199999"):
        Hosts.load(path)
