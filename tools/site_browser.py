"""Look at the built documentation in headless Chromium: ``make docs-check`` runs it.

At the widths of a phone, a tablet and a desk: no page is wider than the window, no table and no code is cut off without
a way to scroll to the rest. The search finds what users look for. The console has no errors, and axe finds no serious
fault of accessibility, in the light and in the dark theme. Screenshots are in build/site.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[1]
BUILT: Final = ROOT / "docs" / "_build"
SHOTS: Final = ROOT / "build" / "site"
CHROMIUM: Final = "/usr/bin/chromium"

WIDTHS: Final = (390, 768, 1400)

LOOKED_AT: Final = (
    "index",
    "guide/tutorial",
    "howto",
    "howto/sandboxes",
    "guide",
    "coming_from/xl",
    "comparison",
    "troubleshooting",
    "command",
    "xl_keys",
    "reference/lint",
    "reference/errors",
    "reference/api/pyxen.DomainConfig",
    "reference/api/pyxen.Host",
)
"""The pages of which there are screenshots, and which axe looks at."""

SEARCHES: Final = {"destroy": "pyxen.Domain", "NotPrivileged": "troubleshooting", "octal": "lint"}
"""What is searched for, and a part of the address of a page that is to be among the results."""

OF_SPHINX: Final = ("definition-list",)
"""What axe finds in what Sphinx writes: a long signature is a list of definitions that has none."""

CUT: Final = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = element => {
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(each).overflowX)) return true;
    }
    return false;
  };
  const found = [];
  if (document.documentElement.scrollWidth > wide) found.push(`the page: ${document.documentElement.scrollWidth} px`);
  for (const element of document.querySelectorAll('article table, article pre, article dt, article p, article li')) {
    const box = element.getBoundingClientRect();
    if (box.width && box.right > wide + 1 && !scrolls(element)) {
      found.push(`${element.tagName}: ${Math.round(box.right)} px: ${element.innerText.slice(0, 60)}`);
    }
  }
  return found.slice(0, 3);
}"""
"""What is wider than the window, and cannot be scrolled to."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and does not print requests."""

    def log_message(self, *_args: Any) -> None:
        """Do nothing."""


class _Server(http.server.ThreadingHTTPServer):
    """Serves requests that the browser may give up, since it goes on to the next page."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless it is the browser's leaving."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served() -> Iterator[str]:
    """Serve the site on this machine, and yield its address."""
    handler = functools.partial(_Quiet, directory=str(BUILT))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def pages(pattern: str) -> list[str]:
    """Return the pages of the site that a pattern matches, without what Sphinx adds."""
    found = (path.relative_to(BUILT).with_suffix("").as_posix() for path in BUILT.glob("**/*.html"))
    mine = (name for name in found if name not in ("genindex", "py-modindex", "search"))
    return sorted(fnmatch.filter(mine, pattern))


def look(page: Page, address: str, names: list[str], told: list[str]) -> Iterator[str]:
    """Look at each page at each width, and yield what is wrong."""
    for name in names:
        page.goto(f"{address}/{name}.html", wait_until="load")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            yield from (f"{name}: {width} px: too wide: {what}" for what in page.evaluate(CUT))
            if name in LOOKED_AT:
                page.screenshot(path=str(SHOTS / f"{name.replace('/', '-')}-{width}.png"))
        yield from (f"{name}: console: {line}" for line in told)
        told.clear()


def search(page: Page, address: str) -> Iterator[str]:
    """Search for what users look for, and yield what is not found."""
    for word, wanted in SEARCHES.items():
        page.goto(f"{address}/search.html?q={word}")
        page.wait_for_selector("#search-results li a", timeout=60_000)
        page.wait_for_function("() => /found/i.test(document.querySelector('.search-summary')?.innerText ?? '')")
        found = page.eval_on_selector_all(
            "#search-results li a", "links => links.map(link => link.getAttribute('href'))"
        )
        if not any(wanted in str(link) for link in found):
            yield f"search for {word}: no page with {wanted} among {found[:10]}"


def accessibility(page: Page, address: str) -> Iterator[str]:
    """Ask axe about some pages in both themes, and yield what is serious."""
    page.set_viewport_size({"width": 1400, "height": 900})
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for name in LOOKED_AT:
            page.goto(f"{address}/{name}.html", wait_until="load")
            page.screenshot(path=str(SHOTS / f"{name.replace('/', '-')}-{theme}.png"))
            for found in Axe().run(page).response["violations"]:
                if found["impact"] in ("serious", "critical") and found["id"] not in OF_SPHINX:
                    where = found["nodes"][0]
                    count = len(found["nodes"])
                    yield f"{name}: {theme}: {found['id']}: {found['help']}: {where['html'][:100]} ({count})"


def main() -> int:
    """Look at the site; the exit status is 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="?", default="*", help="a pattern for names of pages, such as 'reference/*'")
    names = pages(parser.parse_args().pages)
    if not names:
        parser.error("there are no such pages: run make docs first")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        told: list[str] = []
        page.on("console", lambda line: told.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        wrong = [*look(page, address, names, told), *search(page, address), *accessibility(page, address)]
        browser.close()
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    print(f"{len(names)} pages at {len(WIDTHS)} widths, {len(wrong)} faults; screenshots: {SHOTS.relative_to(ROOT)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
