"""The examples in the documentation run, on a host in memory, and its generated pages are up to date."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pyxen
from pyxen import Disk, Domain, DomainConfig, Event, Feature, LibvirtVerbs, Vif
from pyxen.features import lacking
from pyxen.testing import FakeHost
from tests.waiting import until
from tools import backends, libxl_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *("README.md", "docs/guide.md", "docs/metrics.md", "docs/reliability.md", "docs/testing.md"),
    *("docs/howto.md", "docs/index.md", "docs/troubleshooting.md"),
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "howto").glob("*.md")),
    *(f"docs/coming_from/{page}.md" for page in ("xl", "libvirt_python", "xen_lowlevel", "go_xenlight")),
)

CANNOT_RUN: dict[str, str] = {
    'xen.domains["web1"].migrate("root@host2", timeout=600)': "a host in memory has no other to migrate to",
    'replication = xen.domains["web1"].begin.remus("root@host2", RemusOptions(interval=0.5))': "nor to replicate to",
    'with pyxen.connect("xenlight+ssh://root@host1/") as xen:': "there is no other host",
    'with pyxen.connect("xenlight+unix:///run/pyxen/serve.sock") as xen:': "no server runs here",
    'async with Client("tls://scheduler:8786", security=tls, asynchronous=True) as client, Fleet(client) as fleet:': (
        "there is no scheduler; tests/unit/distributed has one"
    ),
    'with pyxen.connect("xenlight:///driver") as own:': "a host in memory is no driver domain",
}
"""The first lines of examples that cannot run here, and why."""

WEB = DomainConfig(
    "web1", type="pvh", kernel="/boot/vmlinuz", memory=128, maxmem=512, vcpus=1, maxvcpus=4, vifs=[Vif(bridge="xenbr0")]
)


def blocks() -> Iterator[Any]:
    """Yield the Python examples of all pages."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, found.start()) + 2
            yield pytest.param(page, line, found[1], id=f"{page}:{line}")


class Shown:
    """What stands for ``print``: when an event is shown, it lets the host go, or the example would read for ever."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []
        self.host: Any = None

    def __call__(self, *values: object) -> None:
        self.lines.append(values)
        if any(isinstance(value, Event | pyxen.ShutdownReason) for value in values) or "<ShutdownReason" in str(values):
            closing = self.host.close()
            if inspect.isawaitable(closing):
                self.task = asyncio.ensure_future(closing)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    """The host that examples connect to, wherever they say they do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web1.cfg").write_text(pyxen.xlcfg.dumps(WEB))
    with FakeHost(time="real") as fake, fake.standing_in():
        yield fake


@pytest.mark.parametrize(("page", "line", "text"), list(blocks()))
def test_an_example(fake: FakeHost, tmp_path: Path, page: str, line: int, text: str) -> None:
    if text.splitlines()[0] in CANNOT_RUN:
        return
    text = text.replace("/srv/", f"{tmp_path}/")
    source = "\n" * (line - 1) + text
    code = compile(source, str(ROOT / page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if "DomainConfig(" not in text:
        fake.create(WEB)
    if '"hvm1"' in text and "qmp" in text:
        hvm = fake.create(WEB.replace(name="hvm1", type="hvm", kernel=None, disks=(), vifs=()))
        fake.guest(hvm).qmp = {"human-monitor-command": "ide0: none"}
    if "for event in events" in text and "shutdown(" not in text:
        threading.Thread(target=_end_when_someone_listens, args=[fake]).start()
    awaits = bool(code.co_flags & inspect.CO_COROUTINE)
    if awaits:
        asyncio.run(_awaited(code, fake, blocking=text.startswith("with ")))
    else:
        with pyxen.connect() as xen:
            shown = Shown()
            shown.host = xen
            names = _names(shown, xen, None if "DomainConfig(" in text else xen.domains["web1"])
            exec(code, names)  # noqa: S102 (our own pages)
            _run_tests(names)
            assert shown.lines or "print(" not in text


def _end_when_someone_listens(fake: FakeHost) -> None:
    until(lambda: fake._machine._subscribers, "nobody listens")
    fake.guest("web1").power_off()


async def _awaited(code: Any, fake: FakeHost, *, blocking: bool) -> None:
    shown = Shown()
    async with pyxen.aio.connect() as xen:
        host: Any = pyxen.connect() if blocking else xen
        shown.host = host
        web = fake.domains["web1"] if blocking else await xen.domains["web1"]
        await eval(code, _names(shown, host, web))  # noqa: S307 (our own pages)
        if blocking:
            host.close()
    assert shown.lines


def _names(shown: Shown, xen: Any, web: Any) -> dict[str, Any]:
    """Return what the pages have introduced before an example."""
    return {
        "__name__": "example",
        "asyncio": asyncio,
        "config": WEB.replace(name="web2", vifs=()),
        "configs": [WEB.replace(name=name, vifs=()) for name in ("web3", "web4")],
        "Disk": Disk,
        "DomainConfig": DomainConfig,
        "host": xen,
        "print": shown,
        "pyxen": pyxen,
        "time": SimpleNamespace(sleep=lambda _: time.sleep(0.01), monotonic_ns=time.monotonic_ns),
        "Vif": Vif,
        "web": web,
        "xen": xen,
    }


def _run_tests(names: dict[str, Any]) -> None:
    """Run the tests that an example shows, as pytest would, each with a host of its own."""
    for name, function in names.items():
        if not name.startswith("test_"):
            continue
        settings = {mark.name: mark.kwargs for mark in getattr(function, "pytestmark", [])}.get("xen_host", {})
        with FakeHost(**settings) as fake, fake.standing_in():
            takes = inspect.signature(function).parameters
            face = asyncio.run(_opened(fake)) if "aio_xen_host" in takes else None
            function(**{name: face if name == "aio_xen_host" else fake for name in takes})
            if face is not None:
                asyncio.run(face.close())


async def _opened(fake: FakeHost) -> pyxen.aio.Host:
    return await fake.aio()


def test_the_pages_are_read() -> None:
    assert len(list(blocks())) >= 12
    first_lines = {parameters.values[2].splitlines()[0] for parameters in blocks()}
    assert CANNOT_RUN.keys() <= first_lines


def test_the_messages_in_troubleshooting_are_pyxens() -> None:
    """Headings in quotes are messages; what differs from case to case is an ellipsis, or a release of Xen."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = re.findall(r'^### "(.*)"$', text, re.MULTILINE)
    fragments = {part.strip() for heading in headings for part in re.split(r"…|4\.20|ERROR_FAIL|[()]|PVH", heading)}
    nodes = [node for path in (ROOT / "src").glob("**/*.py") for node in ast.walk(ast.parse(path.read_text()))]
    said = "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    assert len(headings) > 8
    assert [part for part in fragments if len(part) > 3 and part not in said] == []


def _pages() -> list[Path]:
    return [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("**/*.md"),
        *(ROOT / "lab").glob("*.md"),
        *ROOT.glob("tests/*/*.md"),
    ]


# What is generated


def test_the_page_of_the_backends_is_up_to_date() -> None:
    assert backends.PAGE.read_text() == backends.page(), "run: python -m tools.backends"


def test_the_table_of_the_backends_knows_what_xenlight_lacks() -> None:
    tree = ast.parse((ROOT / "src" / "pyxen" / "backends" / "xenlight" / "backend.py").read_text())
    assigned = {ast.unparse(node.target): node.value for node in tree.body if isinstance(node, ast.AnnAssign)}
    lacks = assigned["_LACKS"]
    assert lacks is not None
    said = {pyxen.Feature[node.attr].value for node in ast.walk(lacks) if isinstance(node, ast.Attribute)}
    assert set(backends.table()["backend"]["xenlight"]["lacks"]) == said


def test_a_host_for_tests_says_why_it_cannot() -> None:
    memory = backends.table()["backend"]["memory"]
    assert {*memory["why"]} == {*memory["lacks"]}
    general = str(lacking(Feature.REMUS, "nobody")).partition("; ")[2]
    for name in {*memory["lacks"]} - {"pause_events"}:  # for which `Host.events` has its own words
        assert general not in str(lacking(Feature(name), "memory")), name


@pytest.mark.parametrize("backend", ["memory", "libvirt (Xen)"])
def test_what_is_nearest_is_there(backend: str) -> None:
    """A message names what can be called, of a feature that this backend lacks."""
    lacks, named = backends.table()["backend"][backend.partition(" ")[0]]["lacks"], 0
    for feature in Feature:
        found = re.findall(r"\b(Domain|host\.libvirt)\.(\w+)", str(lacking(feature, backend)))
        named += len(found)
        assert not found or feature in lacks, feature
        for owner, name in found:
            assert hasattr(Domain if owner == "Domain" else LibvirtVerbs, name), name
    assert named > 1


def test_pages_say_the_same_of_colo() -> None:
    reason = libxl_table.table()["option"]["remus -c"]
    for page in ("libxl.md", "command.md", "comparison.md", "howto/migration.md"):
        assert reason in " ".join((ROOT / "docs" / page).read_text().split()), page


def promises() -> list[tuple[str, str]]:
    """Return the tests that docs/reliability.md names, as file and function."""
    text = (ROOT / "docs" / "reliability.md").read_text()
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


@pytest.mark.parametrize(("file", "name"), promises())
def test_a_promise_names_a_test_that_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_names_a_test() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    table = text[text.index("| promise | test |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    assert len(table) > 10
    assert [row for row in table if "::test_" not in row] == []


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in _pages()))
def test_what_a_page_names_is_there(page: str) -> None:
    """Links to files, and names of files and folders of the repository."""
    text, folder = (ROOT / page).read_text(), (ROOT / page).parent
    linked = {folder / found for found in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)}
    named = {
        ROOT / found for found in re.findall(r"`((?:\w+/)*[A-Z]+\.md|(?:docs|lab|tests|tools|src)/[\w./-]+)`", text)
    }
    assert sorted(str(path) for path in linked | named if not path.exists()) == []
