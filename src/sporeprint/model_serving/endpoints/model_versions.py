"""One registered version with its files, and two side by side."""

import asyncio
from typing import Annotated

from fastapi import Path, Query, Response

from sporeprint.inference.model_bundle import schema_differences
from sporeprint.messages.model_versions import ComparisonResponse, VersionFile, VersionResponse
from sporeprint.model_serving.endpoints.models import alias_changes, detail_fields, version_details
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, not_found
from sporeprint.model_serving.runtime.service import Service
from sporeprint.registry.manifest import DamagedError, read_checked
from sporeprint.registry.registry import Registry, is_name
from sporeprint.registry.version_comparison import compare_metrics, compare_values
from sporeprint.registry.version_summary import VersionSummary
from sporeprint.schema import DatasetSchema

routes = router()

#: What may be read of a version, by the ends of the names: nothing of it can run anywhere.
MEDIA_TYPES = {"png": "image/png", "md": "text/markdown; charset=utf-8", "json": "application/json", "svg": "image/svg+xml"}
CARD, SCHEMA = "model_card.md", "schema.json"
#: What a file of a version may do that a browser shows by itself: nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"

Name = Annotated[str, Path(description="Name of the model.", max_length=200)]
Number = Annotated[int, Path(description="Number of the version.", ge=1, lt=1 << 31)]
FileName = Annotated[str, Path(description="Name of the file: a picture, a model card or JSON.", max_length=200)]
Ref = Annotated[str, Query(description="A version, as name/v2, a model for its champion, or production.", min_length=1, max_length=200)]
CONTENT = {media: {"schema": {} if ending == "json" else {"type": "string"}} for ending, media in MEDIA_TYPES.items()}


@routes.get("/models/compare", name="model_compare", responses=problems(404))
async def compare(service: ServiceDep, a: Ref, b: Ref) -> ComparisonResponse:
    """Two versions side by side."""
    return await asyncio.to_thread(_compare, service, a, b)


@routes.get("/models/{name}/versions/{version}", name="model_version", responses=problems(404))
async def version(name: Name, version: Number, service: ServiceDep) -> VersionResponse:
    """Everything that is known of one version; its files are read, and compared with their digests."""
    return await asyncio.to_thread(_version, service, name, version)


@routes.get(
    "/models/{name}/versions/{version}/files/{file}",
    name="model_file",
    response_class=Response,
    responses={**problems(404), 200: {"description": "The file", "content": CONTENT}},
)
async def file(name: Name, version: Number, file: FileName, service: ServiceDep) -> Response:
    """One file of a version, if its digest is the registered one."""
    body = await asyncio.to_thread(_file, service.loader.registry, name, version, file)
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=MEDIA_TYPES[_ending(file)], headers=headers)


def _ending(file: str) -> str:
    return file.rpartition(".")[2]


def _ref(registry: Registry, name: str, version: int) -> str:
    """A version as it is named. Raises: HttpProblemError."""
    if not is_name(name):
        raise HttpProblemError(not_found(f"{name[:80]!r} is no name of a model"))
    return registry.resolve(f"{name}/v{version}").ref


def _file(registry: Registry, name: str, version: int, file: str) -> bytes:
    ref = _ref(registry, name, version)
    if _ending(file) not in MEDIA_TYPES:
        allowed = ", ".join(MEDIA_TYPES)
        raise HttpProblemError(not_found(f"{file[:80]!r} is not to be read here; files that end in {allowed} are"))
    return registry.read(ref, file)


def _version(service: Service, name: str, number: int) -> VersionResponse:
    registry = service.loader.registry
    ref = registry.resolve(_ref(registry, name, number))
    summary, aliases = service.summaries.of(name, number), registry.aliases()
    manifest = summary.manifest
    if manifest is None:
        raise DamagedError(f"{ref.ref}: {summary.problem}")
    problems = registry.verify(ref.ref)
    answers = summary.metrics.get("answers") or {}
    card = None
    if CARD in manifest.files and not any(problem.startswith(CARD) for problem in problems):
        card = read_checked(ref, CARD, manifest).decode(errors="replace")
    return VersionResponse(
        **detail_fields(summary, aliases),
        manifest=ref.manifest,
        identity=manifest.identity,
        scorer=manifest.scorer,
        info=manifest.info,
        promise=answers.get("threshold") or {},
        notes=tuple(answers.get("notes") or ()),
        card=card,
        files=tuple(
            VersionFile(name=each, bytes=record.size, sha256=record.sha256, readable=_ending(each) in MEDIA_TYPES)
            for each, record in sorted(manifest.files.items())
        ),
        problems=problems,
        history=tuple(each for each in alias_changes(aliases) if ref.ref in (each.ref, each.before)),
    )


def _compare(service: Service, a: str, b: str) -> ComparisonResponse:
    registry, summaries = service.loader.registry, service.summaries
    aliases = registry.aliases()
    one, other = (_sound(service, ref) for ref in (a, b))
    contract: tuple[str, ...] = ()
    if one.manifest and other.manifest and one.manifest.schema_sha256 != other.manifest.schema_sha256:
        contract = schema_differences(*(DatasetSchema.model_validate_json(registry.read(each.ref, SCHEMA)) for each in (one, other)))
    return ComparisonResponse(
        a=version_details(one, aliases),
        b=version_details(other, aliases),
        metrics=compare_metrics(one, other),
        values=compare_values(one, other, (summaries.rule(one), summaries.rule(other))),
        contract=contract,
    )


def _sound(service: Service, ref: str) -> VersionSummary:
    """The version that a reference names. Raises: RegistryError, DamagedError."""
    version_ref = service.loader.registry.resolve(ref)
    summary = service.summaries.of(version_ref.name, version_ref.version)
    if summary.problem is not None:
        raise DamagedError(summary.problem)
    return summary
