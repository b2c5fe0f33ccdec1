"""The words of the pages: English texts are the keys, a catalogue for each other language has what they are there.

A text that a catalogue lacks stays English; a test finds such texts. Words of the table (columns, values, classes) come from its schema.
"""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

SOURCE = "en"
#: Language -> its name in itself.
LANGUAGES: Mapping[str, str] = {"en": "English", "de": "Deutsch"}


class Words:
    """The texts of one language.

    >>> Words("de")("{n} of {all} fields", n=6, all=20)
    '6 von 20 Feldern'
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, text: str, **values: object) -> str:
        """A text in this language, with values in its places."""
        return self._texts.get(text, text).format(**values) if values else self._texts.get(text, text)

    def count(self, number: int, one: str, many: str, **values: object) -> str:
        """A text that depends on a number, which stands at `{n}`."""
        return self(one if number == 1 else many, n=f"{number:,}", **values)


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """English text -> text of a language, from the files of its folder: one for each part of the pages, so that a text is easily found."""
    if language == SOURCE:
        return {}
    parts = (part for part in (files(__package__) / "catalogue" / language).iterdir() if part.name.endswith(".toml"))
    return {text: known for part in parts for text, known in tomllib.loads(part.read_text(encoding="utf-8")).items()}


def language_of(*wishes: str) -> str:
    """The language to answer in.

    Args:
        wishes: what the reader prefers, the strongest first, each as in `Accept-Language`.
    """
    for wish in wishes:
        for tag in _by_weight(wish):
            if (language := tag.partition("-")[0].lower()) in LANGUAGES:
                return language
    return SOURCE


def _by_weight(wish: str) -> Sequence[str]:
    """The tags of an `Accept-Language`, the most wanted first."""
    weighed = []
    for part in wish[:200].split(","):
        tag, _, parameter = part.strip().partition(";")
        text = parameter.strip().removeprefix("q=")
        weighed.append((float(text) if text.replace(".", "", 1).isdigit() else 1.0, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda each: -each[0])]
