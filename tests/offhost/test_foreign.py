"""What others wrote runs inside pyxen and raises what it likes; what they planted in a configuration shows nowhere."""

from __future__ import annotations

import gc
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig, Spice, Vfb, Vnc, libvirtxml, xlcfg
from pyxen.errors import Error, LossyConversion
from pyxen.losses import LossWarning
from tests.offhost.host import OffHost
from tests.offhost.sweep import FAULTS, Configure, Fault, forgive_what_libxl_leaves, nothing_more
from tests.offhost.world import Kind

SECRET = "planted1"  # noqa: S105 (it is to be looked for)
ESCAPE = "\x1b]0;planted\x07"


def life(offhost: OffHost, host: pyxen.Host, config: Configure, folder: Path) -> None:
    """Do much of what can be done to a domain."""
    with host.events() as events:
        web = host.create(config(vcpus=2), timeout=20)
        web.pause()
        web.unpause()
        web.set_userdata("note", b"x")
        web.set_vcpus(1)
        web.detach(web.attach(pyxen.Vif(bridge="xenbr0"), timeout=20), timeout=20)
        assert web.config().name == "web"
        web.rename("shop")
        offhost.guest(web.domid).obey()
        web.save(folder / "saved", timeout=20)
        host.restore(folder / "saved", timeout=20).destroy(timeout=20)
        with pytest.raises(Error):
            host.create(config(memory=20_000))
        assert events.get(timeout=20) is not None
    offhost.end_guests()


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")  # it is collected open, on purpose
def test_a_collection_at_every_moment(offhost: OffHost, config: Configure, tmp_path: Path) -> None:
    before = gc.get_threshold()
    with nothing_more():
        gc.set_threshold(1)
        try:
            host = pyxen.connect("xenlight:///")
            cycle: list[object] = [host]
            cycle.append(cycle)
            life(offhost, host, config, tmp_path)
            del host
            cycle.clear()
            gc.collect()
        finally:
            gc.set_threshold(*before)
    assert offhost.left() == []


class Raises(logging.Handler):
    """A handler that ends the interpreter, if it can."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(record.getMessage())


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What was raised by others; all that pyxen logs raises."""
    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: shown.append(arguments.exc_value))
    logger, handler = logging.getLogger("pyxen"), Raises()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield shown
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_handlers_and_callbacks_that_raise(
    offhost: OffHost, config: Configure, tmp_path: Path, raised: list[object]
) -> None:
    def end(_: object) -> None:
        raise KeyboardInterrupt

    with nothing_more(), pyxen.connect("xenlight:///") as host:
        begun = host.begin.create(config(name="first"), timeout=20)
        begun.add_done_callback(end)
        begun.result(20).destroy(timeout=20)
        life(offhost, host, config, tmp_path)
    assert {type(error) for error in raised} == {SystemExit, KeyboardInterrupt}
    assert offhost.left() == []


# Secrets


def screens(config: Configure) -> list[DomainConfig]:
    """Return guests with passwords."""
    hvm = DomainConfig("web", type="hvm", memory=16, vnc=Vnc(passwd=SECRET))
    return [
        config("pv", vfbs=[Vfb(vnc=Vnc(passwd=SECRET))]),
        hvm,
        hvm.replace(spice=Spice(enable=True, port=5901, passwd=SECRET)),
    ]


def shown(error: BaseException) -> str:
    """Return all that an error may show."""
    return "\n".join([str(error), repr(error), repr(vars(error)), repr(error.args), *traceback.format_exception(error)])


FEW = {name: fault for name, fault in FAULTS.items() if fault.kind in {Kind.HYPERCALLS, Kind.REQUESTS, Kind.FILES}}


@pytest.mark.parametrize("fault", FEW.values(), ids=FEW)
def test_no_error_shows_a_password(
    offhost: OffHost, host: pyxen.Host, config: Configure, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    caplog.set_level(logging.DEBUG, "pyxen")
    errors = []
    for screen in screens(config):
        for nth in (5, 15, 25) if fault.kind is Kind.FILES else (5, 25, 60):
            with offhost.world.sweeping(fault.kind, nth, fault.error, fault.how) as swept:
                try:
                    host.create(screen, timeout=0.5).destroy(timeout=20)
                except Error as error:
                    errors.append(error)
            forgive_what_libxl_leaves(offhost, swept)
    assert errors
    assert [text for error in errors if SECRET in (text := shown(error))] == []
    assert SECRET not in caplog.text
    assert offhost.left() == []


def test_no_loss_shows_a_password(config: Configure) -> None:
    for screen in screens(config):
        losses = [*xlcfg.losses(screen), *libvirtxml.losses(screen)]
        assert SECRET not in repr(losses) + "".join(map(str, losses)) + repr(screen)


MISSPELT = {
    "an attribute": f"<graphics type='vnc' password='{SECRET}'/>",
    "an attribute that is nearly right": f"<graphics type='vnc' passwdd='{SECRET}'/>",
    "an element": f"<graphics type='desktop' passwdd='{SECRET}'/>",
    "a blank": f"vfb = ['vncpasswd {SECRET}']",
    "a letter more": f"vfb = ['vncpasswdd={SECRET}']",
    "no list": f"vfb = 'vncpasswd {SECRET}'",
}


@pytest.mark.parametrize("written", MISSPELT.values(), ids=MISSPELT)
def test_no_misspelt_password_is_shown(written: str) -> None:
    if written.startswith("<"):
        text = (
            "<domain type='xen'><name>web</name><memory>65536</memory><os><type>hvm</type></os>"
            f"<devices>{written}</devices></domain>"
        )
        loads: Callable[..., DomainConfig] = libvirtxml.loads
    else:
        text, loads = f"name = 'web'\nkernel = '/k'\nmemory = 64\n{written}\n", xlcfg.loads
        found = xlcfg.lint(text)
        assert found
        assert SECRET not in repr(found) + "".join(map(str, found))
    with pytest.raises(LossyConversion) as caught:
        loads(text, on_loss="raise")
    assert SECRET not in shown(caught.value)
    with pytest.warns(LossWarning) as warned:
        assert loads(text, on_loss="warn").name == "web"
    assert [one for one in warned if SECRET in str(one.message)] == []


# What controls a terminal

CLI = "import sys; from pyxen.cli import main; sys.argv[0] = 'pyxen'; sys.exit(main())"


@pytest.mark.parametrize("command", [["lint"], ["convert", "--to", "libvirtxml"], ["convert", "--to", "xlcfg"]])
def test_the_command_prints_no_escape(offhost: OffHost, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "web.cfg"
    file.write_text(f"name = 'web'\nkernel = '/no{ESCAPE}'\nmemmory{ESCAPE} = 16\ndisk = ['{ESCAPE}']\n")
    done = offhost.run_python(CLI, *command, str(file))
    assert done.returncode != 0
    assert done.stderr or done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_errors_are_safe_to_print(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    path = offhost.folder / f"{ESCAPE}kernel"
    with pytest.raises(Error) as caught:
        host.create(config(kernel=str(path)))
    assert "\x1b" not in str(caught.value)
    assert "x1b" in str(caught.value)
