"""What the identify page may say, and what it may not: rules of wording, with every kind of verdict and of what still fits."""

import re
from dataclasses import replace

import pytest

from page_support import until_ready
from serving_support import Client
from sporeprint.model_serving.ui.identify import VerdictCard
from sporeprint.web.names import label_of
from sporeprint.web.pages import render
from sporeprint.web.words import LANGUAGES, Words

UNKNOWN = VerdictCard(
    verdict="unknown",
    role="unknown",
    model="xgboost/v1",
    unknown="too_little_observed",
    reason="too little observed (2 of 20 columns); look at: ring-type",
    look_at=("ring-type",),
    unseen=(),
    outside=(),
    contradictions=(),
    explanation=None,
    observed=(("Cap shape", "convex"), ("Cap color", "brown")),
    columns=20,
    alpha=0.001,
    confidence=0.95,
    prediction_id="p1",
)
NEGATIVE = replace(UNKNOWN, verdict="edible", role="good", unknown=None, reason=None, look_at=())
POSITIVE = replace(NEGATIVE, verdict="poisonous", role="warn")
WORDS = {"base": "/ui/", "here": "identify", "positive": "poisonous", "negative": "edible", "group": "species", "label_of": label_of}


def text_of(card: VerdictCard, language: str = "en") -> str:
    page = render("_verdict.html.j2", Words(language), {**WORDS, "card": card})
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "card",
    [
        UNKNOWN,
        replace(UNKNOWN, unknown="out_of_distribution", look_at=()),
        replace(UNKNOWN, unknown=None, reason="the probability is too high for one class and too low for the other"),
        replace(UNKNOWN, contradictions=("has no ring, and a ring type",)),
    ],
)
def test_unknown_has_no_likelier_class_and_no_probability(card: VerdictCard, language: str) -> None:
    text = text_of(card, language).replace("Treat it as poisonous", "").replace("Behandeln Sie es als poisonous", "")
    assert not re.search(r"edible|%|0\.\d", text), text
    assert "poisonous" not in text


def test_there_are_two_unknowns() -> None:
    assert "Not enough to go by. 2 of 20 fields were given. Look at next: Ring type" in text_of(UNKNOWN)
    unlike = text_of(replace(UNKNOWN, unknown="out_of_distribution"))
    assert "Like nothing it knows. Treat it as poisonous" in unlike
    assert "Not enough" not in unlike


def test_the_negative_class_has_its_promise_with_its_condition() -> None:
    text = text_of(NEGATIVE)
    assert "At most 0.1 % of such verdicts are wrong (confidence 95.0 %), for species that the model has seen." in text
    assert "At most" not in text_of(POSITIVE)


@pytest.mark.parametrize(("card", "role"), [(NEGATIVE, "good"), (POSITIVE, "warn")])
def test_a_class_is_a_word_a_shape_and_a_colour(card: VerdictCard, role: str) -> None:
    page = render("_verdict.html.j2", Words("en"), {**WORDS, "card": card})
    assert re.search(rf'<h2 id="verdict-word" class="{role}">{card.verdict.capitalize()}</h2>', page)  # the style sheet draws the shape


QUERIES = (
    "",
    "cap-shape=x",
    "cap-shape=x&cap-color=n&stem-height=5",
    "cap-shape=b&cap-color=zz&gill-color=zz&stem-height=100&stem-width=500&season=w",
)


@pytest.mark.parametrize("query", QUERIES)
def test_of_what_still_fits_only_numbers_of_a_class_are_said(client: Client, query: str) -> None:
    panel = until_ready(client).get(f"/ui/identify?{query}", headers={"hx-request": "true"}).text
    panel = re.sub(r'<ul class="list">.*?</ul>|<details.*?</details>|<svg.*?</svg>', " ", panel, flags=re.DOTALL)
    text = " ".join(re.sub(r"<[^>]*>", " ", panel).split())
    assert re.findall(r"(\S+) edible", text), text
    assert all(before.isdecimal() for before in re.findall(r"(\S+) edible", text)), text
    assert "safe" not in text
    if "Nothing that is known fits" in text:
        assert "Treat it as poisonous." in text


def test_nothing_fits_what_was_never_seen(client: Client) -> None:
    panel = until_ready(client).get(f"/ui/identify?{QUERIES[-1]}", headers={"hx-request": "true"}).text
    assert "Nothing that is known fits" in panel
    assert "Treat it as poisonous." in panel
