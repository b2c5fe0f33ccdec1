"""What every template keeps to: the catalogue is complete, nothing in them needs the policy of the pages to be weaker, files are whole."""

import hashlib
import re
import string
import tomllib
from pathlib import Path

import pytest

import sporeprint.model_serving.ui
import sporeprint.reports
import sporeprint.web
from sporeprint.web.assets import assets
from sporeprint.web.words import LANGUAGES, SOURCE, Words, catalogue, language_of

WEB = Path(sporeprint.web.__path__[0])
VIEWS = Path(sporeprint.model_serving.ui.__path__[0])
#: What speaks through the catalogue beside the templates.
SPEAKERS = (*VIEWS.glob("*.py"), *(Path(sporeprint.reports.__path__[0]) / f"ab_test_{name}.py" for name in ("report", "charts")))
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in (WEB / "templates").glob("*.j2")}
QUOTED = r'"((?:[^"\\]|\\.)*)"'


def texts() -> set[str]:
    """Every text of the catalogue that templates and views name."""
    found: set[str] = set()
    for text in TEMPLATES.values():
        found |= set(re.findall(rf"\b_\({QUOTED}", text)) | set(re.findall(r"\b_\('([^']*)'", text))
        found |= {each for pair in re.findall(rf"_\.count\([^\"]*{QUOTED}, {QUOTED}", text) for each in pair}
    for path in SPEAKERS:
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(rf"\b(?:Concern|words)\(\s*{QUOTED}", source))
        found |= set(re.findall(rf'^    "ui_\w+": \("[^"]*", {QUOTED}\)', source, re.MULTILINE))
    return found


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != SOURCE])
def test_a_catalogue_has_every_text_with_the_same_places_and_none_more(language: str) -> None:
    known = catalogue(language)
    assert texts() - set(known) == set()
    assert set(known) - texts() == set()
    for source, text in known.items():
        places = [sorted(name for _, name, _, _ in string.Formatter().parse(each) if name) for each in (source, text)]
        assert places[0] == places[1], source


def test_a_text_without_values_may_hold_braces_and_numbers_choose_their_form() -> None:
    assert Words("en")("{n} of {all} fields") == "{n} of {all} fields"
    assert Words("de")("{n} of {all} fields", n=6, all=20) == "6 von 20 Feldern"
    assert Words("en").count(1, "One thing wants attention.", "{n} things want attention.") == "One thing wants attention."
    assert Words("en").count(1200, "One thing wants attention.", "{n} things want attention.") == "1,200 things want attention."


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        (("", "de-DE,de;q=0.9,en;q=0.8"), "de"),
        (("", "fr, en;q=0.1, de;q=0.5"), "de"),
        (("en", "de"), "en"),
        (("xx", "tlh"), "en"),
        (("", ""), "en"),
        (("", "de;q=nan"), "de"),
        (("", "\u202e;;;q=,,"), "en"),
    ],
)
def test_the_language_is_the_one_that_is_wished_most_and_there(wishes: tuple[str, ...], language: str) -> None:
    assert language_of(*wishes) == language


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_needs_no_weaker_policy(name: str) -> None:
    text = TEMPLATES[name]
    assert not re.search(r"\bstyle=|\bon[a-z]+=|hx-on|\bjs:|\|\s*safe\b|<style|hx-vals|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r'hx-trigger="[^"]*\[', text), "filters of htmx need eval"
    assert not re.search(r"https?://", text), "nothing comes from elsewhere"


def test_what_is_not_our_own_is_as_it_came() -> None:
    for each in tomllib.loads((WEB / "static/vendor/VENDOR.toml").read_text(encoding="utf-8")).values():
        body = (WEB / "static/vendor" / each["file"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == each["sha256"]
        assert each["version"] in each["file"]


def test_all_files_together_are_small() -> None:
    sizes = {name: len(asset.packed) for name, asset in assets().items()}
    assert sum(sizes.values()) < 40_000, sizes
    assert sizes["ui.css"] < 12_000
    assert sizes["ui.js"] < 8_000
