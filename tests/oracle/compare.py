"""One comparison with xl: what it makes of a text, and what pyxen makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pyxen import libxljson, xlcfg
from pyxen.config import DomainConfig, DomainType
from pyxen.errors import ConfigError
from tests.oracle.server import Refused
from tests.oracle.xl import HOST_CPUS, HOST_NODES


class Xl(Protocol):
    """A real xl that can be asked: `tests.oracle.xl.XlOracle` off-host, or one on a host."""

    @property
    def release(self) -> str:
        """Its Xen release."""

    def create(self, text: str) -> dict[str, Any] | Refused:
        """Return what it makes of a configuration."""


NODES = {
    node: range(node * HOST_CPUS // HOST_NODES, (node + 1) * HOST_CPUS // HOST_NODES) for node in range(HOST_NODES)
}


def theirs(xl: Xl, text: str) -> DomainConfig | Refused:
    """Return what xl makes of a configuration, without what it adds by itself."""
    answer = xl.create(text)
    if isinstance(answer, Refused):
        return answer
    _without_xl_conf(answer)
    if xl.release == "4.17":
        # Until 4.20 xl numbered channels by their place, by mistake; libxl numbers them.
        for channel in answer.get("channels", []):
            channel.pop("devid", None)
    return _without_rdm(libxljson.from_dict(answer))


def ours(text: str, overrides: Sequence[str] = ()) -> DomainConfig | ConfigError:
    """Return what pyxen makes of a configuration, as it is on the oracle's host."""
    try:
        config = xlcfg.loads(text, overrides=overrides, on_loss="ignore")
    except ConfigError as error:
        return error
    return seen(config)


def seen(config: DomainConfig) -> DomainConfig:
    """Return a configuration as it is on the oracle's host, without what libxl's JSON cannot say."""
    resolved = config.resolve_cpus(range(HOST_CPUS), NODES).replace(ms_vm_genid=None)
    # The two ends of the comparison meet in libxl's JSON, which says less than the model: numbers of the host, say.
    same = libxljson.from_dict(libxljson.to_dict(resolved, on_loss="ignore"), on_loss="ignore")
    return without_no_spis(_without_rdm(same)).replace(ms_vm_genid=config.ms_vm_genid)


def _without_rdm(config: DomainConfig) -> DomainConfig:
    """Take out the PCI devices' policy from guests other than HVM: xl reads it there from the wrong part of a union."""
    if config.type is DomainType.HVM:
        return config
    return config.replace(pcis=[pci.replace(rdm_policy=None) for pci in config.pcis])


def without_no_spis(config: DomainConfig) -> DomainConfig:
    """Take out an Arm guest's 0 shared interrupts: until 4.21, and the oracles are older, that is libxl's default."""
    return config if config.arm.nr_spis else config.replace(arm=config.arm.replace(nr_spis=None))


def _without_xl_conf(answer: dict[str, Any]) -> None:
    """Take out what comes from xl.conf."""
    answer["c_info"].pop("run_hotplug_scripts", None)
    answer["b_info"].pop("claim_mode", None)


def difference(xl: Xl, text: str, overrides: Sequence[str] = ()) -> str | None:
    """Return in words how pyxen differs from xl on a configuration; None where it does not.

    Args:
        xl: The real xl.
        text: The configuration.
        overrides: What xl is given beside the file.
    """
    expected = theirs(xl, text)
    found = ours(text, overrides)
    if isinstance(expected, Refused):
        if isinstance(found, DomainConfig):
            return f"xl refuses, pyxen does not:\n{text}\n{expected.messages}"
        line = getattr(found, "line", None)
        return None if line else f"no line in {found!r}:\n{text}"
    if isinstance(found, ConfigError):
        return f"pyxen refuses, xl does not: {found}\n{text}"
    found, expected = _comparable(found, expected)
    if found != expected:
        return f"{text}\nxl:    {expected!r}\npyxen: {found!r}"
    return None


def _comparable(found: DomainConfig, expected: DomainConfig) -> tuple[DomainConfig, DomainConfig]:
    """Level what is random, or a path of the machine that xl was built for."""
    if found.uuid is None:
        expected = expected.replace(uuid=None)
    if found.ms_vm_genid == "generate" and expected.ms_vm_genid is not None:
        expected = expected.replace(ms_vm_genid="generate")
    if found.kernel and found.kernel.startswith("/usr/lib/xen/boot/pvgrub") and expected.kernel:
        found = found.replace(kernel=found.kernel.rpartition("/")[2])
        expected = expected.replace(kernel=expected.kernel.rpartition("/")[2])
    if len(found.p9s) == len(expected.p9s):
        pairs = zip(expected.p9s, found.p9s, strict=True)
        expected = expected.replace(p9s=[theirs if mine.path else theirs.replace(path=None) for theirs, mine in pairs])
    return found, expected
