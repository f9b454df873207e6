"""What `lint` says of texts that are no xl configurations, and of keys that others have."""

from __future__ import annotations

import re

import pytest

from pyxen import xlcfg
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.lint_keys import FOREIGN
from pyxen.xlcfg.similar import nearest

HEAD = 'name = "x"\ntype = "hvm"\nmemory = 512\n'


@pytest.mark.parametrize(
    ("text", "looks_like"),
    [
        ("name: vm1\nmemory: 5\n", "YAML"),
        ("---\nname: a\n", "YAML"),
        ("domain:\n  name: a\n", "YAML"),
        ("- a\n- b\n", "YAML"),
        ("version: '3'\nservices:\n  web:\n    command: os.system()\n", "YAML"),
        ("name = 'x'\nimport os\n", "Python"),
        ("import os\n", "Python"),
        ("if x:\n  y = 1\n", "Python"),
        ("try:\n  y = 1\n", "Python"),
        ("name = 'a' % b\n", "Python"),
        ("memory = None\n", "Python"),
        ("memory = 512 if x else 2\n", "Python"),
        ("memory = int(x)\n", "Python"),
        ("\x7fELF\x02\x01\x01\0\0\0\0import os", "a binary file"),
        ("\x89PNG\r\n\x1a\n", "a binary file"),
        ("\x1f\x8b\x08", "a binary file"),
        ("n\0a\0m\0e\0=\0'\0a\0'\0", "UTF-16"),
        ("<domain type='xen'/>", "XML"),
        ('{"c_info": {}}', "JSON"),
        ("OVM_simple_name = 'x'\nmemory = 5\n", "a file of Oracle VM"),
        ("memory = 5\nOVM_x = 'y'\nOVM_high_availability = False\n", "a file of Oracle VM"),
        ("memory = 512 MB\n", None),
        ("cmdline = 'x=f(y) % z: import os'  # import os\nmemory = 512 MB\n", None),
        ("# \x1b[31m" + "red " * 20 + "\nmemory = 512 MB\n", None),
        ("name = 'a\0b'\n", None),
        ("[section]\nkey=value\n", None),
    ],
)
def test_what_a_text_looks_like(text: str, looks_like: str | None) -> None:
    (found,) = xlcfg.lint(text)
    assert (found.severity, found.code) == ("error", "syntax")
    said = re.search(r"; this looks like ([\w -]+?)(?:,|:|$)", found.message)
    assert (said and said[1]) == looks_like


def test_utf_16_with_its_mark() -> None:
    (found,) = xlcfg.lint("name = 'a'\n".encode("utf-16"))
    assert found.message.endswith("; this looks like UTF-16: save the file as UTF-8")


def test_lines_that_go_on() -> None:
    (found,) = xlcfg.lint(HEAD + "disk = [ '/a,raw,xvda,w', \\\n '/b,raw,xvdb,w' ]\n")
    assert (found.line, found.column) == (4, 27)
    assert "a backslash does not continue a line" in found.message


@pytest.mark.parametrize(
    ("value", "severity"), [("'none'", "note"), ("''", "note"), ("0", "note"), ("'tcp::5'", "warning")]
)
def test_what_asks_for_nothing_loses_nothing(value: str, severity: str) -> None:
    (found,) = xlcfg.lint(f"{HEAD}parallel = {value}\n")
    assert (found.code, found.severity) == ("unknown-key", severity)


def test_hyphens() -> None:
    (found,) = xlcfg.lint(HEAD + "llc-colors = [ '0-3' ]\n")
    assert "did you mean llc_colors?" in found.message


@pytest.mark.parametrize("key", FOREIGN)
def test_each_foreign_key(key: str) -> None:
    (found,) = xlcfg.lint(f"{HEAD}{key} = 'x'\n")
    assert (found.code, found.hint) == ("unknown-key", FOREIGN[key])
    named = re.search(r"word(?:s)? for it (?:is|are) (.*)", found.hint)
    assert key not in KEYS
    if named:
        assert set(re.split(r", | and ", named[1])) <= KEYS.keys()


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("memroy", "memory"),
        ("vcpu", "vcpus"),
        ("llc_color", "llc_colors"),
        ("acpi_s5", None),  # another number is another thing
        ("iommu", None),
        ("loader", None),
        ("graphics", None),
        ("mem", None),
    ],
)
def test_guesses(word: str, key: str | None) -> None:
    assert nearest(word, KEYS.keys() - {"type"}) == key
