"""Write docs/backends.md, what the ways to a host can do and where they differ, from docs/backends.toml."""

from __future__ import annotations

import ast
import itertools
import sys
import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
SOURCE = DOCS / "backends.toml"
PAGE = DOCS / "backends.md"
FEATURES = DOCS.parent / "src" / "pyxen" / "features.py"


def table() -> dict[str, Any]:
    """Return what the source says."""
    return tomllib.loads(SOURCE.read_text())


def features() -> dict[str, str]:
    """Return the features by name, each with what it is: from the source, so that nothing need be installed."""
    tree = ast.parse(FEATURES.read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef))
    found = {}
    for pair in itertools.pairwise(body):
        match pair:
            case ast.Assign(value=ast.Constant(value=name)), ast.Expr(value=ast.Constant(value=text)):
                found[str(name)] = " ".join(str(text).split())
            case _:
                pass
    return found


def page() -> str:
    """Return the page."""
    said = table()
    backends: dict[str, Any] = said["backend"]
    uris = [f"`{one['uri']}`" for one in backends.values()]
    lines = ["# Backends", "", "| URI | what it is |", "| --- | --- |"]
    lines += [f"| `{one['uri']}` | {one['what']} |" for one in backends.values()]
    lines += [
        "",
        "## What they can do",
        "",
        "All backends list, create, shut down, destroy and await domains, and return their configurations. The rest:",
        "",
        f"| `Host.supports(...)` | | {' | '.join(uris)} |",
        f"| --- | --- |{' --- |' * len(backends)}",
    ]
    for name, what in features().items():
        marks = " | ".join(_mark(one, name) for one in backends.values())
        lines.append(f"| `{name}` | {what.replace('``', '`')} | {marks} |")
    lines += [
        "",
        "Whatever a backend cannot do raises `UnsupportedFeature`, which names the backend and an alternative.",
        "",
    ]
    for name, one in backends.items():
        if "why" in one:
            lines += [f"What `{backends[name]['uri']}` cannot do, and why:", ""]
            lines += [f"- `{feature}`: {why}." for feature, why in one["why"].items()] + [""]
    lines += [
        "## Where they differ",
        "",
        "In all other respects they behave alike: the same tests run against each.",
    ]
    for one in said["difference"]:
        lines += ["", f"### {one['what']}", "", f"Usually: {one['usual']}.", ""]
        lines += [f"- `{backends[name]['uri']}`: {one[name]}." for name in backends if name in one]
        if lines[-1] == "":
            lines.pop()
    return "\n".join(lines) + "\n"


def _mark(backend: dict[str, Any], feature: str) -> str:
    """Return what the table says of a feature."""
    if feature in backend.get("on_arm", ()):
        return "on Arm"
    if feature in backend["lacks"]:
        return "—"
    release = backend.get("since", {}).get(feature)
    return f"Xen {release}" if release else "yes"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
