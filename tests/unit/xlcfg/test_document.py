"""Editing a configuration: what is not touched stays as it was."""

from __future__ import annotations

import random

import pytest

from pyxen.errors import ConfigError, ParseError
from pyxen.xlcfg.document import Document, parse
from pyxen.xlcfg.grammar import Value
from tests.oracle.texts import Texts

TEXT = """\
# A web server
name = 'web1'   # its name
memory=512; vcpus = 2
disk = [
    '/dev/vg0/web1,raw,xvda,rw',  # the system
    '/dev/vg0/data,raw,xvdb,rw'
]
vif = [ 'bridge=xenbr0' ]

extra = "quiet"
extra += " ro"
"""


def test_a_document_is_its_text() -> None:
    assert str(parse(TEXT)) == TEXT


def test_values_are_what_xl_reads() -> None:
    document = parse(TEXT)
    assert list(document) == ["name", "memory", "vcpus", "disk", "vif", "extra"]
    assert document["memory"] == "512"
    assert document["extra"] == "quiet ro"
    assert document["disk"] == ["/dev/vg0/web1,raw,xvda,rw", "/dev/vg0/data,raw,xvdb,rw"]
    assert document.get("kernel") is None
    with pytest.raises(KeyError):
        document["kernel"]


@pytest.mark.parametrize(
    ("key", "value", "before", "after"),
    [
        ("memory", 1024, "memory=512;", "memory=1024;"),
        ("name", "web2", "'web1'   # its", '"web2"   # its'),
        ("vif", [], "[ 'bridge=xenbr0' ]", "[]"),
        ("extra", "splash", 'extra = "quiet"\nextra += " ro"', 'extra = "splash"'),
        ("kernel", "/boot/vmlinuz", ' ro"\n', ' ro"\nkernel = "/boot/vmlinuz"\n'),
        ("localtime", True, ' ro"\n', ' ro"\nlocaltime = 1\n'),
        ("rtc_timeoffset", -5, ' ro"\n', ' ro"\nrtc_timeoffset = "-5"\n'),
        ("vcpus", 2, "vcpus = 2", "vcpus = 2"),
    ],
)
def test_setting_changes_one_place(key: str, value: str | int | list[str], before: str, after: str) -> None:
    document = parse(TEXT)
    document[key] = value
    assert before in TEXT
    assert str(document) == TEXT.replace(before, after)


def test_items_are_added_in_the_style_of_the_list() -> None:
    document = parse(TEXT)
    document["disk"] += ["/x,raw,xvdc,rw"]  # type: ignore[operator]  # a value may be a string as well
    document["vif"] += ["bridge=xenbr1", "bridge=xenbr2"]  # type: ignore[operator]  # as above
    assert 'xvdb,rw\',\n    "/x,raw,xvdc,rw"\n]' in str(document)
    assert '[ \'bridge=xenbr0\', "bridge=xenbr1", "bridge=xenbr2" ]' in str(document)
    assert parse(str(document)) == document


@pytest.mark.parametrize("text", ["a=[]", "a=[ ]", "a=['x',]", "a=['x' # c\n,]", "a=[1\n]\na+=[2]", "a=[[1],['[']]"])
def test_items_are_added_to_any_list(text: str) -> None:
    document = parse(text)
    before = document["a"]
    document["a"] += ["new", ["in", "it"]]  # type: ignore[operator]  # a value may be a string as well
    assert document["a"] == [*before, "new", ["in", "it"]]


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("name", "name = 'web1'   # its name\n"),
        ("memory", "memory=512;"),
        ("vcpus", " vcpus = 2"),
        ("extra", 'extra = "quiet"\nextra += " ro"\n'),
        ("vif", "vif = [ 'bridge=xenbr0' ]\n"),
    ],
)
def test_deleting_takes_the_line_out(key: str, gone: str) -> None:
    document = parse(TEXT)
    del document[key]
    assert key not in document
    assert str(document).replace(" ", "") == TEXT.replace(gone, "").replace(" ", "")
    with pytest.raises(KeyError):
        del document[key]


def test_positions() -> None:
    document = parse(TEXT)
    assert document.position("vcpus") == (3, 13)
    assert document.position("extra") == (11, 1)
    assert [one.key for one in document.assignments][-2:] == ["extra", "extra"]


@pytest.mark.parametrize("text", ["a=1", "a=1 # c\n", "a=1 @", "a=1 #", "a=1;", "", "\n", "# c\n"])
def test_a_key_is_added_to_any_text(text: str) -> None:
    document = parse(text)
    document["b"] = ["x"]
    assert document["b"] == ["x"]
    assert ("a" in document) == ("a" in text)
    assert str(document).endswith('\nb = ["x"]\n') or not text


def test_a_new_document() -> None:
    document = Document()
    document["name"] = 'quote " and \\ and\nline'
    document["disk"] = []
    assert str(document) == 'name = "quote \\" and \\\\ and\\nline"\ndisk = []\n'
    assert document["name"] == 'quote " and \\ and\nline'


def test_what_cannot_be_written_is_refused() -> None:
    document = parse(TEXT)
    with pytest.raises(ConfigError, match="cannot be a key"):
        document["Memory"] = 1
    with pytest.raises(ConfigError, match="NUL"):
        document["name"] = "a\0b"
    with pytest.raises(ConfigError, match="cannot have a value of type float"):
        document["memory"] = 1.5  # type: ignore[assignment]  # wrong on purpose
    assert str(document) == TEXT


def test_a_wrong_text_is_refused_with_its_place() -> None:
    with pytest.raises(ParseError) as caught:
        parse("name = 'x'\nmemory = 512 MB\n")
    assert (caught.value.line, caught.value.column) == (2, 14)


def test_random_edits_of_random_texts() -> None:
    texts, source = Texts(seed=5), random.Random(3)  # noqa: S311 (the same in every run)
    edited = 0
    for _ in range(1500):
        text = texts.config()
        try:
            document = parse(text)
        except ParseError:
            continue
        wanted = dict(document)
        for _ in range(3):
            key = source.choice([*wanted, "new_key"])
            value = wanted.get(key)
            if value is not None and source.random() < 0.3:
                del document[key], wanted[key]
                continue
            changed: Value = [*value, "n", ["m"]] if isinstance(value, list) else source.choice(["v\n'\"", "5", ""])
            document[key] = wanted[key] = changed
            assert dict(document) == wanted, text
            assert dict(parse(str(document))) == wanted, text
            edited += 1
    assert edited > 500


def test_bytes_are_kept() -> None:
    data = 'name = "caf\xe9"\n# \xff\n'.encode("latin-1")
    document = parse(data)
    assert document["name"] == "caf\udce9"
    document["memory"] = 512
    assert str(document).encode("utf-8", "surrogateescape") == data + b"memory = 512\n"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_lists_that_are_nested_too_deeply() -> None:
    document = parse(f"name = 'a'\na = {nested(100)}\n")
    document["b"] = document["a"]
    assert document["b"] == document["a"]
    for levels in (101, 1900, 4900):
        with pytest.raises(ParseError, match="a: lists are nested more than 100 levels deep") as caught:
            parse(f"name = 'a'\na = {nested(levels)}\n")
        assert (caught.value.line, caught.value.column, caught.value.path) == (2, 5, "a")
    with pytest.raises(ConfigError, match="nested more than 100 levels deep"):
        document["c"] = [document["a"]]
    endless: list[Value] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="nested more than 100 levels deep"):
        document["c"] = endless
    assert list(document) == ["name", "a", "b"]
