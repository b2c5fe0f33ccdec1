"""`GET /schema`: the table that a model is for, in words."""

from sporeprint.messages.table_schema import SchemaClass, SchemaColumn, SchemaResponse, SchemaValue
from sporeprint.model_serving.endpoints.predict import ModelQuery
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.models.encoder import NumericEncoding
from sporeprint.schema import Column, DatasetSchema
from sporeprint.web.form import sections
from sporeprint.web.names import label_of

routes = router()


@routes.get("/schema", name="schema", responses=problems(404))
async def table_schema(service: ServiceDep, model: ModelQuery = None) -> SchemaResponse:
    """Columns, values and classes in words, with what occurred in training: enough to make a form of it."""
    served = service.loader.current if model is None else await service.loader.get(model)
    schema, encoder = served.bundle.schema, served.bundle.encoder
    ranges = {each.name: (each.low, each.high) for each in encoder.columns if isinstance(each, NumericEncoding)}
    titles = {question.name: section.title for section in sections(schema) for question in section.questions}
    return SchemaResponse(
        name=schema.name,
        hash=schema.fingerprint(),
        model=served.ref.name,
        version=served.ref.version,
        target=schema.target.column,
        positive=_class(schema, schema.target.positive),
        negative=_class(schema, schema.target.negative),
        group=None if schema.groups is None else schema.groups.name,
        columns=tuple(
            _column(name, column, titles.get(name), ranges.get(name), frozenset(encoder.vocabulary.get(name, ())))
            for name, column in schema.columns.items()
        ),
        contradictions=tuple(each.says for each in schema.contradictions),
    )


def _class(schema: DatasetSchema, code: str) -> SchemaClass:
    return SchemaClass(code=code, word=schema.target.values[code])


def _column(
    name: str, column: Column, section: str | None, seen: tuple[float | None, float | None] | None, vocabulary: frozenset[str]
) -> SchemaColumn:
    low, high = seen or (None, None)
    return SchemaColumn(
        name=name,
        label=label_of(name),
        section=section,
        kind=column.kind.value,
        unit=column.unit,
        description=column.description,
        required=column.required,
        min=column.min,
        max=column.max,
        low=low,
        high=high,
        values=tuple(SchemaValue(code=code, word=word, seen=code in vocabulary) for code, word in (column.values or {}).items()),
    )
