"""The errors of images that cannot be made."""

from __future__ import annotations

from pyxen.errors import OperationFailed

__all__ = ["BuildFailed", "ImageError", "NoNetwork", "ProgramMissing", "TargetExists", "TargetInUse"]


class ImageError(OperationFailed):
    """An image was not made, and no file of it is left. `log` has what the program printed last."""

    def __init__(self, message: str, *, log: tuple[str, ...] = ()) -> None:
        super().__init__(message, operation="image", log=log)

    def _text(self) -> str:
        return "\n".join([f"image: {self.message}", *(f"  {line}" for line in self.log)])


class BuildFailed(ImageError):
    """A program failed that makes a part of the image."""


class NoNetwork(BuildFailed, ConnectionError):
    """The packages of a distribution cannot be fetched: there is no network, no name service, or no such mirror."""


class ProgramMissing(ImageError, FileNotFoundError):
    """A program that makes a part of the image is not installed."""


class TargetExists(ImageError, FileExistsError):
    """The file exists, or the block device has something on it."""


class TargetInUse(ImageError):
    """The block device is mounted, or a domain or another device holds it."""
