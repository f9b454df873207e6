"""Everything a machine is started from; what is missing is built, two things at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import buildroot, image, tools
from lab.progress import say

if TYPE_CHECKING:
    from pathlib import Path

    from lab.releases import Release


@dataclass(frozen=True)
class Parts:
    """What a machine is started from.

    Attributes:
        image: dom0's disk and kernels.
        extension: The folder with pyxen's compiled extension, if the repository has one.
        bytecode: The folder with pyxen's Python files, compiled.
    """

    image: image.Image
    extension: Path | None
    bytecode: Path


def prepare(release: Release) -> Parts:
    """All parts for a release, from the cache or newly built.

    Raises:
        LabError: A tool is missing, we cannot become root, or a step of the build failed.
    """
    tools.require(tools.RUN_TOOLS)
    with ThreadPoolExecutor(max_workers=2) as pool:
        built = pool.submit(image.build, release)
        compiled = pool.submit(_compile, release)
        try:
            extension, bytecode = compiled.result()
            return Parts(built.result(), extension, bytecode)
        except (KeyboardInterrupt, SystemExit):
            say("interrupted: the step of the build that runs is finished first")
            built.cancel()
            raise


def _compile(release: Release) -> tuple[Path | None, Path]:
    return buildroot.extension(release), buildroot.bytecode(release)
