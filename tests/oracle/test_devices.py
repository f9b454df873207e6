"""Specs of disks and vifs: the corpus and random ones, against `xl block-attach`, libxlutil and `vif=`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

from pyxen import libxljson
from pyxen.config import Disk, Part, Vif
from pyxen.errors import ConfigError
from pyxen.xlcfg.disk import read_disk, read_disk_arguments
from pyxen.xlcfg.item_grammar import SpecError
from pyxen.xlcfg.vif import read_vif
from tests.oracle import configs
from tests.oracle.server import Refused
from tests.oracle.xl import XlOracle
from tests.oracle.xlu import XluOracle

COUNT = int(os.environ.get("PYXEN_TEXTS", "20000")) // 2

DISK_PIECES = configs.lines("disk-pieces.txt")
VIF_PIECES = configs.lines("vif-pieces.txt")


def specs(pieces: Sequence[str], seed: int, most: int) -> Iterator[str]:
    source = random.Random(seed)  # noqa: S311 (the same specs in every run)
    for _ in range(COUNT):
        chosen = source.choices(pieces, k=source.randint(1, most))
        yield ",".join(source.choice(("", "", "", " ", "  ")) + piece for piece in chosen)


def disk_or_error(spec: str) -> Disk | ConfigError | SpecError:
    try:
        return read_disk(spec)
    except (ConfigError, SpecError) as error:
        return error


def canonical(device: Part) -> dict[str, object]:
    """Return a device as libxl's JSON, read and written once more so that both sides are said alike."""
    return libxljson.device_to_dict(device)


def check_disk(theirs: dict[str, object] | None, spec: str) -> None:
    mine = disk_or_error(spec)
    if theirs is None:
        assert isinstance(mine, (ConfigError, SpecError)), f"xl refuses {spec!r}, pyxen does not: {mine}"
    else:
        assert isinstance(mine, Disk), f"pyxen refuses {spec!r}, xl does not: {mine}"
        expected = libxljson.device_from_dict(Disk, theirs)
        assert canonical(mine) == canonical(expected), spec


def test_disk_specs_of_the_corpus(xl: XlOracle) -> None:
    newer = configs.NEWER_DISKS if xl.release != "4.17" else ()
    for spec in configs.DISKS + newer:
        theirs = xl.disk(spec)
        check_disk(None if isinstance(theirs, Refused) else theirs, spec)


def test_random_arguments_of_block_attach(xlu: XluOracle) -> None:
    source = random.Random(421)  # noqa: S311 (the same arguments in every run)
    taken = 0
    for spec in specs(DISK_PIECES, 422, 4):
        arguments = [spec, *source.choices(DISK_PIECES, k=source.randint(0, 3))]
        theirs = xlu.disk_of_arguments(arguments)
        try:
            mine: Disk | None = read_disk_arguments(arguments)
        except (ConfigError, SpecError):
            mine = None
        assert (mine is not None) == isinstance(theirs, dict), (arguments, theirs, mine)
        if mine is not None and isinstance(theirs, dict):
            taken += 1
            assert canonical(mine) == canonical(libxljson.device_from_dict(Disk, theirs)), arguments
    assert taken > COUNT / 50


def test_random_disk_specs(xlu: XluOracle) -> None:
    taken = 0
    for spec in specs(DISK_PIECES, 420, 6):
        theirs = xlu.disk(spec)
        known = theirs if isinstance(theirs, dict) else None
        taken += known is not None
        check_disk(known, spec)
    assert taken > COUNT / 50


def test_vif_specs(xl: XlOracle) -> None:
    newer = ("trusted", "vlan") if xl.release == "4.17" else ()
    corpus = [spec for spec in configs.VIFS if not any(word in spec for word in newer)]
    for spec in [*corpus, *list(specs(VIF_PIECES, 417, 5))[: COUNT // 5]]:
        theirs = xl.vif(spec)
        try:
            mine: Vif | Exception = read_vif(spec, lambda _what, _why: None)
        except (ConfigError, SpecError) as error:
            mine = error
        if isinstance(theirs, Refused):
            assert isinstance(mine, Exception), f"xl refuses {spec!r}, pyxen does not: {mine}"
            continue
        assert isinstance(mine, Vif), f"pyxen refuses {spec!r}, xl does not: {mine}"
        expected = libxljson.device_from_dict(Vif, theirs)
        if mine.devid is None:
            expected = expected.replace(devid=None)
        assert canonical(mine) == canonical(expected), spec
