"""What holds for all tests that need no Xen."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections go to the xenstored that the test names, whatever this machine's environment says."""
    monkeypatch.delenv("XENSTORED_PATH", raising=False)
