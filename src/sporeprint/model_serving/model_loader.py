"""Keeps the model that serves: loads it, polls whether another one was put in its place, and exchanges it as a whole."""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sporeprint.errors import SporeprintError
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.registry.registry import ALIASES, Registry

log = logging.getLogger(__name__)

#: How often to look, seconds.
POLL_S = 0.5
#: How often to try again what could not be loaded, in polls.
RETRY_POLLS = 10
#: Models that requests named and that are kept, beside the one that serves.
CACHED_MODELS = 4


@dataclass(frozen=True)
class LoadFailure:
    """Why another version does not serve.

    Attributes:
        message: the reason; it can name files of the server.
        since: seconds since 1970.
    """

    message: str
    since: float


class ModelLoader:
    """The model that a name stands for, at any time a whole one. `current` is for any thread."""

    def __init__(self, root: Path, name: str) -> None:
        """Load what serves.

        Args:
            root: the registry's folder.
            name: production, a model's name, or one version.

        Raises:
            RegistryError: if there is no such model, or it is damaged.
        """
        self.registry, self.name = Registry(root), name
        self._last_signature = self._signature()
        self.current = LoadedModel.load(self.registry, self.registry.resolve(name))
        self.failure: LoadFailure | None = None
        self.swaps = 0
        self._named: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading = asyncio.Lock()

    async def get(self, name: str) -> LoadedModel:
        """The model that a request names.

        Raises:
            RegistryError: if there is no such model, or it is damaged.
        """
        if name in (self.name, self.current.ref.ref):
            return self.current
        if name in self._named:
            self._named.move_to_end(name)
            return self._named[name]
        # One at a time: whoever asks for many models must not take the processor from those who ask for one.
        async with self._loading:
            if name in self._named:
                return self._named[name]
            seen = self._last_signature
            served = await asyncio.to_thread(self._load, name)
            # An alias that moved meanwhile may stand for another version by now.
            if seen == self._last_signature:
                self._named[name] = served
                while len(self._named) > CACHED_MODELS:
                    self._named.popitem(last=False)
            return served

    def _load(self, name: str) -> LoadedModel:
        ref = self.registry.resolve(name)
        for served in (self.current, *list(self._named.values())):
            if served.ref == ref:
                return served
        return LoadedModel.load(self.registry, ref)

    def _signature(self) -> tuple[int, int, int] | None:
        """What changes when an alias moves: the file is replaced as a whole."""
        try:
            stat = (self.registry.root / ALIASES).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look for another version as long as the context lasts."""
        async with background_task(self._watch(), "model-loader"):
            yield

    async def _watch(self) -> None:
        polls = 0
        while True:
            await asyncio.sleep(POLL_S)
            polls += 1
            signature = self._signature()
            if signature == self._last_signature and (self.failure is None or polls % RETRY_POLLS):
                continue
            self._last_signature = signature
            self._named.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Load what the name stands for now, where that is another version. What fails leaves the one that serves."""
        try:
            ref = await asyncio.to_thread(self.registry.resolve, self.name)
            if ref != self.current.ref:
                served = await asyncio.to_thread(LoadedModel.load, self.registry, ref)
                log.info("%s is now %s, was %s", self.name, ref.ref, self.current.ref.ref)
                self.current, self.swaps = served, self.swaps + 1
            self.failure = None
        except SporeprintError as error:
            self._failed(error)
        except Exception as error:
            log.exception("another version could not be loaded")
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self.failure is None or self.failure.message != str(error):
            log.error("%s goes on serving, because what %s stands for cannot: %s", self.current.ref.ref, self.name, error)
            self.failure = LoadFailure(str(error), time.time())
