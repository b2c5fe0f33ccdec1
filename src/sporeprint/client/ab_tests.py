"""What the client asks about A/B tests: how long one takes, how one is, its labels, its end."""

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from sporeprint.client.protocol import JSON, Call, Request
from sporeprint.messages.ab_labels import LabelRequest, LabelResponse, LeaseRequest, LeaseResponse
from sporeprint.messages.ab_plans import AbPlanRequest, AbPlanResponse
from sporeprint.messages.ab_tests import AbRollbackRequest, AbTestResponse, ConclusionRequest


def ab_test(test: str, *, since: int | None = None) -> Call[AbTestResponse | None]:
    """Look at an A/B test.

    Args:
        test: its name or id.
        since: an `at_us`: of its interim analyses and events, only later ones; None is returned where there are none.
    """
    response = yield Request("GET", _path(test), {} if since is None else {"since": str(since)}, accepted=(304,))
    return None if response.status == 304 else response.read(AbTestResponse)


def plan_ab_test(rate_a: float, rate_b: float, **fields: Any) -> Call[AbPlanResponse]:
    """Ask how long an A/B test will take.

    Args:
        rate_a: error rate of model_a that is expected.
        rate_b: error rate of model_b.
        fields: `shared`, `per_day`, and those of the test, as mode or alpha.
    """
    body = AbPlanRequest.model_construct(rate_a=rate_a, rate_b=rate_b, **fields)  # the service says what is wrong with it
    response = yield _post("/ab-tests/plan", body)
    return response.read(AbPlanResponse)


def conclude_ab_test(test: str, *, winner: str | None = None, reason: str | None = None) -> Call[AbTestResponse]:
    """End an A/B test; a winner that is promoted first has to pass the gate.

    Args:
        test: its name or id.
        winner: A or B; left out: by the test's rule.
        reason: why; needed where the winner is not what the rule says.

    Raises:
        ConflictError: if it has ended already.
    """
    fields: Any = {"winner": winner, "reason": reason}
    response = yield _post(f"{_path(test)}/conclude", ConclusionRequest.model_construct(**fields))
    return response.read(AbTestResponse)


def rollback_ab_test(test: str, *, reason: str) -> Call[AbTestResponse]:
    """Take back the promotion of an A/B test's winner.

    Raises:
        ConflictError: if it was not promoted, or something else serves by now.
    """
    response = yield _post(f"{_path(test)}/rollback", AbRollbackRequest.model_construct(reason=reason))
    return response.read(AbTestResponse)


def lease_labels(test: str, *, count: int = 1, labeller: str | None = None) -> Call[LeaseResponse]:
    """Ask for items of a shadow test to label: nobody else gets them for ten minutes.

    Args:
        test: its name or id.
        count: at most so many.
        labeller: who labels, where several people use one key.
    """
    response = yield _post(f"{_path(test)}/labels/lease", LeaseRequest.model_construct(count=count, labeller=labeller))
    return response.read(LeaseResponse)


def label(
    test: str, prediction_id: str, outcome: str, *, source: str | None = None, note: str | None = None, labeller: str | None = None
) -> Call[LabelResponse]:
    """Label an item that was leased; again, differently, it is a correction.

    Args:
        test: name or id of the A/B test.
        prediction_id: the item.
        outcome: the class, by code or word, or cannot_tell.
        source: who says so.
        note: what else is to be known.
        labeller: as in the lease.

    Raises:
        ConflictError: if somebody else has labelled it, or has it in hand.
    """
    fields: Any = {"prediction_id": prediction_id, "outcome": outcome, "source": source, "note": note, "labeller": labeller}
    response = yield _post(f"{_path(test)}/labels", LabelRequest.model_construct(**fields))
    return response.read(LabelResponse)


def _path(test: str) -> str:
    return f"/ab-tests/{quote(test, safe='')}"


def _post(path: str, body: BaseModel) -> Request:
    # A promotion takes as long as its gate.
    return Request("POST", path, {}, {"Content-Type": JSON}, body.model_dump_json(exclude_none=True, warnings=False).encode(), slow=True)
