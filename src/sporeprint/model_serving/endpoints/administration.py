"""`/settings` and `/audit`: how the server is configured, and who changed what."""

from typing import Annotated

from fastapi import Query

from sporeprint.common.timestamps import iso_utc
from sporeprint.messages.keys import AuditChange, AuditList, SettingList
from sporeprint.model_serving.endpoints.monitoring import instant
from sporeprint.model_serving.endpoints.routing import ServiceDep, router
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter
from sporeprint.model_serving.settings_list import settings_list
from sporeprint.storage.oltp import audit_log

routes = router()


@routes.get("/settings", name="settings")
async def show_settings(service: ServiceDep) -> SettingList:
    """Every setting: its value, its default, and who says so. Secrets are dots."""
    return SettingList(settings=settings_list(service.settings, service.root))


@routes.get("/audit", name="audit")
async def list_changes(
    service: ServiceDep,
    subject: Annotated[str | None, Query(description="Only what was done to this.", max_length=255)] = None,
    actor: Annotated[str | None, Query(description="Only what this one did, as in key:ci.", max_length=128)] = None,
    action: Annotated[str | None, Query(description="Only this, as in key.created, or all of key.", max_length=64)] = None,
    since: Annotated[str | None, Query(description="Only from this time on, ISO 8601 with its zone.", max_length=40)] = None,
    limit: Annotated[int, Query(description="At most so many.", ge=1, le=audit_log.MOST)] = 50,
    before: Annotated[str | None, Query(description="`next` of the page before.", max_length=40)] = None,
) -> AuditList:
    """Who changed what, the latest first."""
    if before is not None and not (before.isdecimal() and before.isascii() and len(before) < 19):
        raise HttpProblemError(bad_parameter(f"parameter 'before': expected `next` of the page before, got {before[:40]!r}"))
    since_us, number = instant(since, "since"), None if before is None else int(before)
    result = await service.database.executor.run(
        lambda: audit_log.listed(
            service.database.engine, subject=subject, actor=actor, action=action, since_us=since_us, limit=limit, before=number
        )
    )
    changes = (
        AuditChange(
            at=iso_utc(each.at_us, "milliseconds"), actor=each.actor, action=each.action, subject=each.subject, details=each.details
        )
        for _, each in result
    )
    return AuditList(changes=tuple(changes), next=str(result[-1][0]) if len(result) == limit else None)
