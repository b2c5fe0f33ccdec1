"""The dialogue of `sporeprint identify`: one question at a time, in words."""

import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import typer

from sporeprint.errors import DataError, UsageError
from sporeprint.inference.identification import identify_row
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.prediction import OUT_OF_DISTRIBUTION
from sporeprint.inference.predictor import NOT_OBSERVED, not_observed, parse_row
from sporeprint.messages.identification import Identification, NextQuestion
from sporeprint.pipelines.explanation import IdentifyResult
from sporeprint.schema import DatasetSchema, Kind

Read = Callable[[], str]
Write = Callable[[str], None]

#: Columns of a terminal.
WIDTH = 80
#: What a person can answer to any question, beside a value.
BACK, CANNOT_TELL, EXPLAIN, QUIT = ("b", "back"), ("-", "cannot tell", ""), ("?",), ("q", "quit")


@dataclass
class Dialogue:
    """A dialogue about one thing.

    Attributes:
        bundle: the model.
        fields: what was answered, by column, in the order of the answers; `NOT_OBSERVED` for "cannot tell".
    """

    bundle: Bundle
    fields: dict[str, Any] = field(default_factory=dict)

    def standing(self) -> Identification:
        """Where it stands."""
        schema = self.bundle.schema
        cannot_tell = not_observed(self.fields, schema)
        return identify_row(self.bundle, parse_row(self.fields, schema), cannot_tell=cannot_tell)

    def answer(self, column: str, text: str) -> str | None:
        """Take an answer to a question; what is wrong with it, where it is none.

        A nominal value may be a word, a code, the number of a choice, or the beginning of one word alone.
        """
        schema = self.bundle.schema
        if text.strip().lower() in CANNOT_TELL:
            self.fields[column] = NOT_OBSERVED
            return None
        value: Any = text.strip()
        if schema.columns[column].kind is Kind.NOMINAL:
            value = choice(value, column, schema)
            if value is None:
                words = ", ".join((schema.columns[column].values or {}).values())
                return f"{text.strip()!r} is none of: {words}"
        elif schema.columns[column].kind is Kind.NUMERIC:
            value = value.replace(",", ".") if value.count(",") == 1 and "." not in value else value
        try:
            parse_row({column: value}, schema)
        except DataError as error:
            return str(error)
        self.fields[column] = value
        return None

    def reply(self, standing: Identification, text: str) -> list[str] | None:
        """Take a line of the person's; what is to be shown before the next question, None where it ends."""
        if text.lower() in BACK:
            return [] if self.back() else ["There is nothing to take back."]
        if standing.is_final:
            return None
        question = standing.next_questions[0]
        if text in EXPLAIN:
            return meaning_lines(question, self.bundle.schema)
        problem = self.answer(question.column, text)
        return [] if problem is None else [problem]

    def back(self) -> bool:
        """Take the last answer back; whether there was one."""
        if not self.fields:
            return False
        self.fields.popitem()
        return True


def choice(text: str, column: str, schema: DatasetSchema) -> str | None:
    """The code that an answer means; None for none, or for more than one. Where no codes are declared: the text itself."""
    values = schema.columns[column].values
    if not values:
        return text
    if text in values:
        return text
    exact = [code for code, word in values.items() if word.lower() == text.lower()]
    if exact:
        return exact[0]
    if text.isdigit() and 1 <= int(text) <= len(values):
        return list(values)[int(text) - 1]
    beginning = [code for code, word in values.items() if text and word.lower().startswith(text.lower())]
    return beginning[0] if len(beginning) == 1 else None


def dialogue(model: tuple[str, Bundle], fields: dict[str, str], read: Read | None = None, show: Write | None = None) -> IdentifyResult:
    """Ask until there is a verdict, nothing is left to ask, or the person ends it; then say where it stands.

    Args:
        model: name and version, and the model.
        fields: what is known before the first question.
        read: the next line of the person; None: of standard input.
        show: shows a line; None: on standard error, as standard output is for the result.

    Raises:
        DataError: if a field of `fields` is unknown, or the version cannot answer partial rows.
        UsageError: if the person ends it by an interrupt.
    """
    ref, bundle = model
    read, show = read or _read, show or (lambda line: typer.echo(line, err=True))

    def write(line: str) -> None:
        for part in [line] if len(line) <= WIDTH else textwrap.wrap(line, WIDTH, subsequent_indent="  "):
            show(part)

    talk = Dialogue(bundle, dict(fields))
    standing = talk.standing()
    write("One question at a time. Answer with a word, a number of the list, or - for 'cannot tell'; ? explains, b goes back, q ends.")
    while not standing.is_final or (is_strange(standing) and talk.fields):
        for line in strange_lines(standing) if standing.is_final else question_lines(standing, bundle.schema):
            write(line)
        text = read().strip()
        notes = None if text.lower() in QUIT else talk.reply(standing, text)
        if notes is None:
            break
        for line in notes:
            write(line)
        standing = talk.standing()
    return IdentifyResult(ref, bool(bundle.info.get("simulated")), bundle.schema, standing)


def is_strange(standing: Identification) -> bool:
    """Whether it ended because the answers are like nothing known: one of them may be a slip."""
    return standing.unknown == OUT_OF_DISTRIBUTION


def strange_lines(standing: Identification) -> list[str]:
    """What is wrong with the answers, and that the last one can be taken back."""
    notes = [f"{column}: {note}" for column, note in standing.unseen.items()]
    notes += [f"This contradicts itself: {note}." for note in standing.contradictions]
    return ["", *(notes or [f"This is like nothing known: {standing.reason}."]), "b takes the last answer back; anything else ends."]


def question_lines(standing: Identification, schema: DatasetSchema) -> list[str]:
    """The next question as it is shown: how many known groups fit, by class, what to look at, and the choices."""
    question = standing.next_questions[0]
    positive = schema.target.values[schema.target.positive]
    fits = f"{standing.fitting} known fit, {standing.fitting_positive} of them {positive}"
    what = question.description or question.column.replace("-", " ").replace("_", " ")
    lines = ["", f"[{standing.observed} observed; {fits}]", f"{what}{f' in {question.unit}' if question.unit else ''}?"]
    values = schema.columns[question.column].values
    if values:
        # A choice stays in one piece: its blanks are no places to break at.
        choices = "  ".join(f"{number} {word}".replace(" ", "\xa0") for number, word in enumerate(values.values(), start=1))
        lines += [line.replace("\xa0", " ") for line in textwrap.wrap(choices, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    return lines


def meaning_lines(question: NextQuestion, schema: DatasetSchema) -> list[str]:
    """What a question is for, and what each answer would mean."""
    positive = schema.target.values[schema.target.positive]
    cost = f", cost {question.cost:g}" if question.cost != 1 else ""
    lines = [f"{question.column} tells {question.class_bits:.2f} bits about the class{cost}"]
    lines.extend(
        f"  {answer.words}: {answer.likelihood:.0%} likely; then {answer.positive:.0%} of the known that fit are {positive}"
        for answer in question.answers
    )
    return lines


def _read() -> str:
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        raise UsageError("ended by an interrupt; nothing is kept") from None
    return line or "q"
