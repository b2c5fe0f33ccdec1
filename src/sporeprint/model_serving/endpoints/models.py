"""`GET /models` and `/aliases/history`: the registered versions, how they did, and what the aliases stand and stood for."""

import asyncio
from typing import Annotated, Any

from fastapi import Query

from sporeprint.messages.model_versions import AliasChangeEntry, AliasHistory
from sporeprint.messages.models import ModelList, ModelVersions
from sporeprint.messages.version_details import Alias, VersionDetails
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.runtime.service import Service
from sporeprint.registry.aliases import PRODUCTION, Aliases
from sporeprint.registry.version_summary import VersionSummary

routes = router()

#: Most lines of one answer, and lines if nobody says how many.
MOST, USUAL = 200, 50

Limit = Annotated[int, Query(description="At most so many.", ge=1, le=MOST)]
Before = Annotated[int | None, Query(description="`next` of the page before.", ge=1, lt=1 << 31)]
Details = Annotated[bool, Query(description="Whether the versions come with how they did.")]
ModelFilter = Annotated[str | None, Query(description="Only this model.", min_length=1, max_length=64)]
AliasFilter = Annotated[str | None, Query(description="Only this one: production, or a model for its champion.", max_length=64)]


@routes.get("/models", responses=problems(404))
async def models(
    service: ServiceDep, details: Details = False, name: ModelFilter = None, limit: Limit = USUAL, before: Before = None
) -> ModelList:
    """The registered versions."""
    return await asyncio.to_thread(_models, service, details, name, limit, before)


def _models(service: Service, details: bool, name: str | None, limit: int, before: int | None) -> ModelList:
    registry = service.loader.registry
    aliases = registry.aliases()
    pins = {alias: pin.ref for alias, pin in aliases.pins.items()}
    if name is not None:
        registry.champion(name)  # says what there is, where this is not
    listed = []
    for each in registry.names() if name is None else (name,):
        numbers = registry.versions(each)
        champion = pins.get(each, f"{each}/v{numbers[0]}")
        page = [number for number in reversed(numbers) if before is None or number < before] if details else []
        listed.append(
            ModelVersions(
                name=each,
                champion=champion,
                versions=tuple(f"{each}/v{number}" for number in numbers),
                details=tuple(version_details(service.summaries.of(each, number), aliases) for number in page[:limit]) if details else None,
                next=page[limit - 1] if len(page) > limit else None,
            )
        )
    return ModelList(production=pins.get(PRODUCTION), serving=service.loader.current.ref.ref, models=tuple(listed))


def standing(summary: VersionSummary, aliases: Aliases) -> tuple[Alias, ...]:
    """What a version stands for; a model's first version is its champion, where none was chosen."""
    pin, served = aliases.pins.get(summary.name), aliases.pins.get(PRODUCTION)
    is_champion = summary.version == 1 if pin is None else pin.ref == summary.ref
    champion: tuple[Alias, ...] = ("champion",) if is_champion else ()
    production: tuple[Alias, ...] = ("production",) if served is not None and served.ref == summary.ref else ()
    return (*production, *champion)


def version_details(summary: VersionSummary, aliases: Aliases) -> VersionDetails:
    """A version as a line of the list."""
    return VersionDetails(**detail_fields(summary, aliases))


def detail_fields(summary: VersionSummary, aliases: Aliases) -> dict[str, Any]:
    """The fields of a version's details."""
    threshold = summary.metrics.get("answers", {}).get("threshold") or {}
    return {
        "ref": summary.ref,
        "name": summary.name,
        "version": summary.version,
        "created": summary.info.get("created"),
        "aliases": standing(summary, aliases),
        "simulated": summary.is_simulated,
        "parts": summary.parts,
        "threshold": threshold.get("value"),
        "data_fingerprint": summary.info.get("data_fingerprint"),
        "problem": summary.problem,
    }


@routes.get("/aliases/history", name="alias_history")
async def history(service: ServiceDep, alias: AliasFilter = None, limit: Limit = USUAL, before: Before = None) -> AliasHistory:
    """What production and the champions stood for, who changed it and why, the latest first."""
    changes = [each for each in alias_changes(await asyncio.to_thread(service.loader.registry.aliases)) if alias in (None, each.alias)]
    page = [each for each in changes if before is None or each.number < before]
    return AliasHistory(history=tuple(page[:limit]), next=page[limit - 1].number if len(page) > limit else None)


def alias_changes(aliases: Aliases) -> tuple[AliasChangeEntry, ...]:
    """Every change of every alias, the latest first."""
    return tuple(
        AliasChangeEntry(
            number=number,
            when=each.when,
            alias=each.alias,
            before=each.origin,
            ref=each.to,
            by=each.by,
            reason=each.reason,
            undo=each.undo,
        )
        for number, each in reversed(list(enumerate(aliases.history, 1)))
    )
