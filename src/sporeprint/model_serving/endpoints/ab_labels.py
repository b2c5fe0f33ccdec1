"""`/ab-tests/{test_id}/labels`: the disagreements of a shadow test are leased and labelled, blind."""

import functools
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Engine

from sporeprint.ab_testing.comparisons import fewest_labels
from sporeprint.ab_testing.decision import Verdict
from sporeprint.ab_testing.design import Rule
from sporeprint.ab_testing.totals import ShadowTotals
from sporeprint.common.timestamps import iso_utc, now_us
from sporeprint.inference.identification import words_of
from sporeprint.messages.ab_labels import FeatureInWords, LabelItem, LabelRequest, LabelResponse, LeaseRequest, LeaseResponse, QueueState
from sporeprint.model_serving.endpoints.ab_tests import TestId, as_problem, find_test
from sporeprint.model_serving.endpoints.predictions import code_of, source_of
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, ServiceDep, problems, router
from sporeprint.model_serving.http.authentication import Caller
from sporeprint.model_serving.http.problems import HttpProblemError, Problem
from sporeprint.model_serving.runtime.service import Service
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp import ab_interim_analyses, ab_labels, ab_unit_counts
from sporeprint.storage.oltp.ab_labels import CANNOT_TELL
from sporeprint.storage.oltp.ab_tests import AbTest

routes = router()
PROBLEMS = problems(*UNREADABLE, 409)


@routes.post("/ab-tests/{test_id}/labels/lease", name="ab_lease", responses=PROBLEMS)
async def lease_items(test_id: TestId, request: LeaseRequest, service: ServiceDep, caller: CallerDep) -> LeaseResponse:
    """Items to label that nobody else has for ten minutes, without what the versions answered."""
    test, engine, holder = await find_test(service, test_id), service.experiments.engine, _holder(caller, request.labeller)

    def lease() -> tuple[ab_labels.LeasedLabel, ...]:
        if request.prediction_id is not None:
            return (ab_labels.held(engine, test, request.prediction_id, holder),)
        return ab_labels.lease(engine, test, holder, count=request.count, now_us=now_us()) if test.running else ()

    items = await service.database.executor.run(as_problem, lease)
    schema, words = service.loader.current.bundle.schema, verdict_words(service.settings.dataset)
    return LeaseResponse(**asdict(await queue_state(service, test)), items=tuple(_item(each, schema, words) for each in items))


@routes.post("/ab-tests/{test_id}/labels", name="ab_label", responses=PROBLEMS)
async def label_item(test_id: TestId, request: LabelRequest, service: ServiceDep, caller: CallerDep) -> LabelResponse:
    """Label an item, and learn what the versions answered; again, differently, it is a correction."""
    test, engine, schema = await find_test(service, test_id), service.experiments.engine, service.loader.current.bundle.schema
    code = CANNOT_TELL if request.outcome == CANNOT_TELL else code_of(request.outcome, schema)
    source = source_of(request.source or caller.name)
    if not test.running:
        detail = f"the test {test.name!r} has ended: its labels no longer count, and yours were not stored"
        raise HttpProblemError(Problem(409, "conflict", "Something stands against it", detail))
    run, prediction_id, holder = service.database.executor.run, request.prediction_id, _holder(caller, request.labeller)
    claim = functools.partial(ab_labels.claim, engine, test, prediction_id, holder, label=code, now_us=now_us())
    answers, revision = await run(as_problem, claim), None
    if code != CANNOT_TELL:
        recorded = await service.database.record_outcome(prediction_id, code, source=source, observed_us=None, key=None)
        revision = recorded.outcome.revision
    await run(ab_labels.settle, engine, test.test_id, prediction_id, label=code, note=request.note, now_us=now_us())
    words = verdict_words(service.settings.dataset)
    return LabelResponse(
        **asdict(await queue_state(service, test)),
        prediction_id=prediction_id,
        outcome=None if code == CANNOT_TELL else code,
        revision=revision,
        a=words[answers.answer_a],
        b=words[answers.answer_b],
    )


def _holder(caller: Caller, labeller: str | None) -> str:
    return caller.name if labeller is None else f"{caller.name}/{labeller}"


def _item(item: ab_labels.LeasedLabel, schema: DatasetSchema, words: Sequence[str]) -> LabelItem:
    features = {name: value for name, value in (item.features or {}).items() if value is not None and not isinstance(value, bool)}
    in_words = ((name, words_of(value, name, schema) if name in schema.columns else str(value)) for name, value in features.items())
    return LabelItem(
        prediction_id=item.prediction_id,
        created=None if item.created_us is None else iso_utc(item.created_us),
        features_in_words=tuple(FeatureInWords(column=name, says=says) for name, says in in_words),
        leased_until=iso_utc(item.until_us),
        label=item.label,
        a=None if item.answers is None else words[item.answers.answer_a],
        b=None if item.answers is None else words[item.answers.answer_b],
    )


async def queue_state(service: Service, test: AbTest) -> QueueState:
    """How far the labelling of a test is."""
    return await service.database.executor.run(_read_state, service.experiments.engine, test)


def _read_state(engine: Engine, test: AbTest) -> QueueState:
    last = ab_interim_analyses.last(engine, test.test_id)
    decided = last is not None and last.figures["decision"]["verdict"] != Verdict.CONTINUE.value
    totals, fewest = ab_unit_counts.totals(engine, test), None
    if isinstance(totals, ShadowTotals) and test.design.rule is Rule.BETTING and test.design.metric.needs_labels:
        fewest = _fewest(test.design, ShadowTotals(totals.answers, totals.labelled))
    waiting = ab_labels.waiting(engine, test.test_id)
    return QueueState(running=test.running, waiting=waiting, enough=decided or not test.running, fewest=fewest)


#: Answers and labels alone matter, and both change seldom.
_fewest = functools.lru_cache(256)(fewest_labels)
