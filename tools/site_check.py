"""Count the entries of the built reference that are not as they were written: ``make docs`` runs it after Sphinx.

It fails for a docstring of which a part was taken for a type, for names that are private or for type checkers only, for
the place where a class is defined instead of its public name, and for parameters that only pyxen passes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lxml.html

from tools.public_names import names

BUILT: Final = Path(__file__).resolve().parents[1] / "docs" / "_build"

_TEXT: Final = re.compile(r"\. [A-Z]|``|[a-z] [a-z]+ [a-z]")
"""What a type does not have: sentences, and words one after the other."""


def mangled(page: Path) -> Iterator[str]:
    """Yield what is wrong on a page."""
    tree = lxml.html.parse(page).getroot()
    for entry in tree.iterfind(".//dt"):
        classes = (entry.get("class") or "").split()
        if entry.text_content().startswith("Return type"):
            following = entry.getnext()
            said = "" if following is None else " ".join(following.text_content().split())
            yield f"a text is shown as the type of a result: {said}"
        if "sig" not in classes:
            continue
        name = entry.get("id") or ""
        text = " ".join(entry.text_content().split())
        if "Coerced[" in text:
            yield f"{name}: Coerced: {text}"
        if found := re.search(r"(?<![\w.])_[A-Za-z]\w*", text):
            yield f"{name}: a private name, {found[0]}: {text}"
        if "__init__" in name:
            yield f"{name}: a constructor is listed by itself"
        if re.search(r"\bBackend\b", text):
            yield f"{name}: an inner parameter: {text}"
        if name and not {name, name.rpartition(".")[0]} & names():
            yield f"{name}: not a public name"
        for part in entry.iterfind("./em[@class='property']"):
            said = " ".join(part.text_content().split())
            if said.startswith(":") and _TEXT.search(said):
                yield f"{name}: a text is shown as a type: {said}"


def main() -> int:
    """Check the built site; the exit status is 1 if an entry is mangled."""
    pages = sorted((BUILT / "reference" / "api").glob("*.html"))
    if not pages:
        print(f"{BUILT}: nothing is built: run make docs", file=sys.stderr)
        return 2
    wrong = [f"{page.name}: {text}" for page in pages for text in mangled(page)]
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    print(f"{len(pages)} pages of the reference, {len(wrong)} mangled entries")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
