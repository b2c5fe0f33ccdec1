"""axe-core in a page of a real browser: what stands in the way of people who see, hear or move otherwise."""

import functools
import json
from importlib.resources import files
from typing import Any

from browser import Browser

#: WCAG 2.2, levels A and AA, and axe's own good practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """axe.run(WITHIN, {runOnly: ONLY, resultTypes: ["violations"]}).then(found => found.violations.map(
    each => each.id + ": " + each.nodes.map(node => node.target.join(" ") + " " + node.html.slice(0, 200)).join(" | ")))"""


@functools.cache
def _axe() -> str:
    """axe-core itself (MPL-2.0), as a package brings it: used in tests alone, never shipped."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def violations(browser: Browser, *, within: str = ":root") -> list[Any]:
    """The rules that the page breaks as it is seen now, each with the elements; within what a CSS selector finds."""
    if not browser.run("'axe' in window"):
        browser.run(f"{_axe()}; 0")
    found: list[Any] = browser.run(RUN.replace("ONLY", json.dumps(TAGS)).replace("WITHIN", json.dumps(within)))
    return found
