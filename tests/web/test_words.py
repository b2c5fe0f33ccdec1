"""The words of a language: what the domain says in English is said in each other language, whole, with the same values."""

import ast
import re
import string
import tomllib
from pathlib import Path

import pytest

import sporeprint
import sporeprint.web
from sporeprint.settings import load_settings
from sporeprint.web.form import sections
from sporeprint.web.words import LANGUAGES, MOST_TEXT, SOURCE, Words, table_words

ROOT = Path(sporeprint.__path__[0])
OTHERS = [each for each in LANGUAGES if each != SOURCE]
#: Modules whose sentences a page shows.
SPEAKERS = (
    "errors.py",
    *("ab_testing/decision.py", "reports/ab_test_report.py", "pipelines/promotion.py", "safety/anomalies.py", "safety/risk_control.py"),
    *("inference/identification.py", "monitoring/drift.py", "monitoring/evaluation.py", "monitoring/realized_performance.py"),
    *("monitoring/windows.py", "pipelines/ab_test_lifecycle.py"),
)
GAIN = "B (x/v2) is better in answers right, by 1.2 to 3 percentage points (95% sure)"


def forms(language: str) -> dict[str, dict[str, str]]:
    parts: dict[str, dict[str, str]] = tomllib.loads((Path(sporeprint.web.__path__[0]) / f"sentences/{language}.toml").read_text("utf-8"))
    return parts


def fixed_parts(text: str) -> list[str]:
    """What does not vary in a form."""
    return [part for part, *_ in string.Formatter().parse(text) if part]


def texts(module: str) -> list[list[str]]:
    """The fixed parts of every text of a module, also of one that is put together."""
    nodes = list(ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))))
    joined = [[part for part in node.values if isinstance(part, ast.Constant)] for node in nodes if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for parts in joined for part in parts}
    whole = [[node] for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner]
    return [[str(part.value) for part in parts] for parts in (*joined, *whole) if parts]


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_that_ends_a_test_or_lets_it_go_on_is_known(language: str) -> None:
    known = [fixed_parts(text) for part in forms(language).values() for text in part]
    begin = ("Stop:", "No verdict:", "Keep going:", "No relevant", "The test ends", "after ")
    sentences = [each for each in texts("ab_testing/decision.py") if each[0].startswith(begin)]
    assert len(sentences) >= 10
    assert [each for each in sentences if each not in known] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_of_the_shipped_table_is_known_and_no_other(language: str) -> None:
    schema = load_settings(Path(__file__).parents[2] / "config/config.yaml").dataset
    words = {*schema.target.values.values(), *(each.says for each in schema.contradictions), schema.groups.name if schema.groups else ""}
    for section in sections(schema):
        words |= {section.title or ""}
        for each in section.questions:
            words |= {each.label, each.help or "", *(choice.word for choice in each.choices)}
    assert set(table_words(language)) == words - {""}


@pytest.mark.parametrize("language", OTHERS)
def test_no_form_is_left_of_a_sentence_that_nobody_says(language: str) -> None:
    source = "\n".join("\0".join(each) for module in SPEAKERS for each in texts(module))
    for text, said in forms(language)["sentences"].items():
        assert all(word in source for part in fixed_parts(text) for word in re.findall(r"\w+", part)), text
        places = [sorted(name for _, name, _, _ in string.Formatter().parse(each) if name) for each in (text, said)]
        assert set(places[1]) <= set(places[0]), text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"{GAIN}; it should replace A. Only reported errors are counted, of all units: the true difference may be larger.",
            "B (x/v2) ist besser bei richtigen Antworten, um 1.2 bis 3 Prozentpunkte (95% sicher); B sollte A ersetzen. "
            "Gezählt sind nur gemeldete Fehler, von allen Einheiten: der wahre Unterschied kann größer sein.",
        ),
        (
            f"Keep going: {GAIN}, but it is not shown yet that it is no worse in false negatives, latency.",
            "Weiter: B (x/v2) ist besser bei richtigen Antworten, um 1.2 bis 3 Prozentpunkte (95% sicher); noch ist aber nicht gezeigt, "
            "dass B nicht schlechter ist bei falsch Negativen, Latenz.",
        ),
        (
            "By hand, against the rule. Verdict a. Ended by hand before its rule had decided: its rule asks for 76 more units and 2.0 "
            "days. Why: slow.",
            "Von Hand, gegen die Regel. Urteil a. Von Hand beendet, ehe seine Regel entschieden hatte: sie verlangt noch 76 weitere "
            "Einheiten und 2.0 Tage. Warum: slow.",
        ),
        (
            "ring-type, values: the reference has no value; at least 20 are needed to compare them",
            "ring-type, Werte: die Referenz hat keinen Wert; zum Vergleichen braucht es mindestens 20",
        ),
        ("limit: 3 to 4", "limit: 3 to 4"),  # a form of values is none of sentences
        ("Nobody made this sentence.", "Nobody made this sentence."),
        ("", ""),
    ],
)
def test_a_sentence_is_known_by_its_form(text: str, said: str) -> None:
    assert Words("de").sentence(text) == said
    assert Words(SOURCE).sentence(text) == text


def test_a_text_of_any_length_takes_no_time() -> None:
    long = "Keep going: " + " to ".join(["a"] * 10_000)
    assert len(long) > MOST_TEXT
    assert Words("de").sentence(long) == long
    assert Words("de").sentence(long[: MOST_TEXT - 1] + ".").startswith("Weiter: ")


def test_no_text_stands_in_two_files_of_a_catalogue() -> None:
    for language in OTHERS:
        files = sorted((Path(sporeprint.web.__path__[0]) / "catalogue" / language).glob("*.toml"))
        texts = [text for path in files for text in tomllib.loads(path.read_text(encoding="utf-8"))]
        assert sorted(set(texts)) == sorted(texts)
