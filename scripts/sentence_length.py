"""How long the sentences of the README and of docs/ are: words a sentence, by page and together.

    python scripts/sentence_length.py

Code, tables, headings, pictures and the decisions are left out. A sentence ends at a full stop, an exclamation mark or a question mark, or
with its paragraph or list item.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: What is no prose: fences, comments, rows of tables, headings, pictures.
NO_PROSE = re.compile(r"(?s:^```.*?^```$|<!--.*?-->)|^\|.*$|^#+ .*$|!\[[^\]]*\]\([^)]*\)", re.MULTILINE)
PARAGRAPH = re.compile(r"\n\s*\n|^\s*(?:[-*]|\d+\.)\s+", re.MULTILINE)


def pages() -> list[Path]:
    """The README, and the pages of docs/ but for the decisions."""
    return [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions")]


def lengths(text: str) -> Iterator[int]:
    r"""Words of each sentence of a page; three words at least make one.

    >>> list(lengths("# Title\n\nOne short sentence. And `some code` in [another one](page.md).\n"))
    [3, 5]
    """
    prose = re.sub(r"`[^`]*`", "X", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", NO_PROSE.sub("", text)))
    for paragraph in PARAGRAPH.split(prose):
        for sentence in re.split(r"(?<=[.!?])[\s*)\"]+(?=\S)", paragraph.strip()):
            words = re.findall(r"[\w'%-]+", sentence)
            if len(words) >= 3:
                yield len(words)


def mean(values: list[int]) -> float:
    """Their mean; 0 of none."""
    return sum(values) / max(len(values), 1)


if __name__ == "__main__":
    every: list[int] = []
    for page in pages():
        every += (found := list(lengths(page.read_text(encoding="utf-8"))))
        print(f"{mean(found):5.1f} words a sentence, {len(found):4d} sentences  {page.relative_to(ROOT)}")
    print(f"{mean(every):5.1f} words a sentence, {len(every):4d} sentences  together")
