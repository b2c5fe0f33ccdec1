"""Every message says what its fields are, in one place: the docstring, which the OpenAPI document repeats."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter

from sporeprint import messages
from sporeprint.messages.base import RequestMessage, descriptions, trusted
from sporeprint.messages.predictions import PredictResponse


def every_message() -> Iterator[type]:
    for info in pkgutil.iter_modules(messages.__path__):
        module = importlib.import_module(f"sporeprint.messages.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and value is not RequestMessage:
                yield value


MESSAGES = list(every_message())


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 30
    assert len({each.__name__ for each in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.__name__))
def test_every_field_is_described_once(message: Any) -> None:
    fields = set(message.model_fields) if issubclass(message, RequestMessage) else {field.name for field in dataclasses.fields(message)}
    assert set(descriptions(message)) == fields
    schema = TypeAdapter(message).json_schema()
    assert {name: each["description"] for name, each in schema["properties"].items()} == descriptions(message)
    assert "Attributes:" not in schema["description"]


def test_a_response_is_written_and_read_again() -> None:
    said = PredictResponse(
        prediction_id="i",
        prediction="e",
        probability=0.25,
        probability_of="poisonous",
        verdict="edible",
        novelty_p=0.5,
        threshold=None,
        model="m",
        version=1,
        unseen=(),
        outside=("a",),
        reason=None,
    )
    written = orjson.dumps(said)
    assert orjson.dumps(trusted(PredictResponse, **dataclasses.asdict(said))) == written
    assert TypeAdapter(PredictResponse).validate_json(written) == said
    newer = {**orjson.loads(written), "more": 1}
    assert TypeAdapter(PredictResponse).validate_python(newer) == said  # a newer service may say more
