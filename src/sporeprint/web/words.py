"""The words of the pages: English texts are the keys, a catalogue for each other language has what they are there.

A text that a catalogue lacks stays English; a test finds such texts. Words of the table (columns, values, classes) come from its schema;
`tables` has what those of the shipped table are in a language, and another table may share them.
"""

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

SOURCE = "en"
#: Longest text that is taken for a sentence with a form.
MOST_TEXT = 600
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

    def of_table(self, text: str) -> str:
        """A word of the table, or a column with its value, where the language has words for them.

        >>> Words("de").of_table("Cap shape"), Words("de").of_table("Cap shape: flat"), Words("de").of_table("Cabin")
        ('Hutform', 'Hutform: flach', 'Cabin')
        """
        known = table_words(self.language)
        return known.get(text) or ": ".join(known.get(part, part) for part in text.split(": ", 1))

    def sentence(self, text: str) -> str:
        """A sentence that was made in English, and may be stored so: known by its form, said with the same values.

        >>> Words("de").sentence("Keep going: its rule asks for 76 more units.")
        'Weiter: seine Regel verlangt noch 76 weitere Einheiten.'
        """
        return text if self.language == SOURCE or len(text) > MOST_TEXT else _said(self.language, text, is_value=False)

    def count(self, number: int, one: str, many: str, **values: object) -> str:
        """A text that depends on a number, which stands at `{n}`."""
        return self(one if number == 1 else many, n=f"{number:,}", **values)


@functools.lru_cache(maxsize=4096)
def _said(language: str, text: str, *, is_value: bool) -> str:
    """A sentence, or what stands in one, in a language; as it is where its form is not known. A value may be a whole sentence."""
    forms = _forms(language)
    for form, translation in (*forms["sentences"], *forms["values"]) if is_value else forms["sentences"]:
        if (match := form.fullmatch(text)) is not None:
            return translation.format(**{name: _said(language, value, is_value=True) for name, value in match.groupdict().items()})
    return text


@functools.cache
def _forms(language: str) -> Mapping[str, Sequence[tuple[re.Pattern[str], str]]]:
    """The forms of sentences and of what stands in them, the most particular first, each with what it is in a language."""
    parts = tomllib.loads((files(__package__) / "sentences" / f"{language}.toml").read_text(encoding="utf-8"))
    return {
        part: [
            (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.*?)", re.escape(text))), translation)
            for text, translation in _particular_first(forms)
        ]
        for part, forms in parts.items()
    }


def _particular_first(forms: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    return sorted(forms.items(), key=lambda each: -len(re.sub(r"\{\w+\}", "", each[0])))


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """English text -> text of a language, from the files of its folder: one for each part of the pages, so that a text is easily found."""
    if language == SOURCE:
        return {}
    parts = (part for part in (files(__package__) / "catalogue" / language).iterdir() if part.name.endswith(".toml"))
    return {text: known for part in parts for text, known in tomllib.loads(part.read_text(encoding="utf-8")).items()}


@functools.cache
def table_words(language: str) -> Mapping[str, str]:
    """Word of the shipped table -> what it is in a language."""
    return {} if language == SOURCE else tomllib.loads((files(__package__) / "tables" / f"{language}.toml").read_text(encoding="utf-8"))


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
