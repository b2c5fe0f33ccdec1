"""`GET /models`: the registered versions and their aliases."""

import asyncio

from sporeprint.messages.models import ModelList, ModelVersions
from sporeprint.model_serving.endpoints.routing import ServiceDep, router
from sporeprint.model_serving.runtime.service import Service

routes = router()


@routes.get("/models")
async def models(service: ServiceDep) -> ModelList:
    """The registered versions."""
    return await asyncio.to_thread(_models, service)


def _models(service: Service) -> ModelList:
    registry = service.loader.registry
    pins = {alias: pin.ref for alias, pin in registry.aliases().pins.items()}
    listed = []
    for name in registry.names():
        versions = tuple(f"{name}/v{number}" for number in registry.versions(name))
        listed.append(ModelVersions(name=name, champion=pins.get(name, versions[0]), versions=versions))
    return ModelList(production=pins.get("production"), serving=service.loader.current.ref.ref, models=tuple(listed))
