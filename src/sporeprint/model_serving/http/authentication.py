"""Who may call: a key's name and roles from a request's headers, by what this process knows of the keys.

The keys are read from the database in the background, so that a request costs a look-up and one hash, and a database that is away turns
nobody away: what was known last counts, also after a restart. Where nothing is known, nobody is let in.

Without any key the service is for this machine alone. Then a request must also name this machine as its host: otherwise a page of another
site could have a browser here call it by a name that resolves to the loopback address (DNS rebinding).
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Engine

from sporeprint.common.files import atomic_write
from sporeprint.errors import ConfigError, SporeprintError, StorageError, StorageUnavailableError
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.http.host import is_loopback
from sporeprint.model_serving.http.key_uses import KeyUses
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, retry
from sporeprint.model_serving.http.requests import Scope
from sporeprint.storage.executor import in_thread, within
from sporeprint.storage.oltp import api_keys
from sporeprint.storage.oltp.api_keys import ApiKey, Role

log = logging.getLogger(__name__)

#: How often to read the keys, seconds: a key that is revoked is no longer taken after so long.
POLL_S = 1.0
BOOTSTRAP_VARIABLE = "SPOREPRINT_BOOTSTRAP_KEY_FILE"
#: Fewest characters of a key that somebody made up: 32 of base64 are 192 bits.
SHORTEST = 32
#: What is known of the keys, below the work directory: hashes, no secrets.
KEYS_FILE = Path("data/keys.json")
EVERYTHING = frozenset(Role)


class AnyRole(StrEnum):
    """What an endpoint needs that every key may call."""

    ANY = "any"


Requirement: TypeAlias = Role | AnyRole
#: Endpoint -> the role that it needs; None: nobody is asked, and nothing is told that not everybody may know.
REQUIRED_ROLES: Mapping[str, Requirement | None] = {
    "predict": Role.PREDICT,
    "predict_batch": Role.PREDICT,
    "identify": Role.PREDICT,
    "schema": Role.PREDICT,
    "prediction_search": Role.READ,
    "prediction": Role.READ,
    "batches": Role.READ,
    "batch": Role.READ,
    "batch_file": Role.READ,
    "outcome": Role.LABEL,
    "outcomes": Role.LABEL,
    "models": Role.READ,
    "model_version": Role.READ,
    "model_file": Role.READ,
    "model_compare": Role.READ,
    "alias_history": Role.READ,
    "gate_check": Role.OPERATE,
    "promote": Role.OPERATE,
    "rollback": Role.OPERATE,
    "ab_tests": Role.READ,
    "ab_create": Role.OPERATE,
    "ab_test": Role.READ,
    "ab_disagreements": Role.READ,
    "ab_report": Role.READ,
    "ab_conclude": Role.OPERATE,
    "ab_rollback": Role.OPERATE,
    "ab_plan": Role.READ,
    "ab_lease": Role.LABEL,
    "ab_label": Role.LABEL,
    "metrics": Role.READ,
    "health": Role.READ,
    "activity": Role.READ,
    "me": AnyRole.ANY,
    "alerts": Role.READ,
    "alert": Role.READ,
    "acknowledge": Role.OPERATE,
    "streams": Role.READ,
    "evaluations": Role.READ,
    "evaluation": Role.READ,
    "evaluation_report": Role.READ,
    "runs": Role.READ,
    "run": Role.READ,
    "rejected": Role.READ,
    "rejected_file": Role.READ,
    "settings": Role.OPERATE,
    "audit": Role.OPERATE,
    "keys": Role.OPERATE,
    "create_key": Role.ADMIN,
    "revoke_key": Role.OPERATE,
    "live": None,
    "ready": None,
    "openapi": None,
    "docs": None,
    "docs_asset": None,
    "index": None,
    "oip_live": None,
    "oip_ready": None,
    "oip_server": None,
    "oip_models": Role.PREDICT,
    "oip_model": Role.PREDICT,
    "oip_model_version": Role.PREDICT,
    "oip_model_ready": Role.PREDICT,
    "oip_version_ready": Role.PREDICT,
    "oip_infer": Role.PREDICT,
    "oip_version_infer": Role.PREDICT,
    "oip_index": Role.READ,
    "oip_load": Role.OPERATE,
    "oip_unload": Role.OPERATE,
    "ui_root": None,
    "ui_overview": Role.READ,
    "ui_identify": Role.PREDICT,
    "ui_ask": Role.PREDICT,
    "ui_predictions": Role.READ,
    "ui_prediction": Role.READ,
    "ui_outcome": Role.LABEL,
    "ui_batches": Role.READ,
    "ui_batch": Role.READ,
    "ui_batch_file": Role.READ,
    "ui_models": Role.READ,
    "ui_model_history": Role.READ,
    "ui_model_compare": Role.READ,
    "ui_model": Role.READ,
    "ui_model_file": Role.READ,
    "ui_gate_check": Role.OPERATE,
    "ui_promote": Role.OPERATE,
    "ui_rollback": Role.OPERATE,
    "ui_tests": Role.READ,
    "ui_test": Role.READ,
    "ui_test_plan": Role.OPERATE,
    "ui_test_create": Role.OPERATE,
    "ui_test_report": Role.READ,
    "ui_conclude": Role.OPERATE,
    "ui_ab_rollback": Role.OPERATE,
    "ui_labels": Role.LABEL,
    "ui_label": Role.LABEL,
    "ui_label_item": Role.LABEL,
    "ui_monitoring": Role.READ,
    "ui_evaluation": Role.READ,
    "ui_evaluation_report": Role.READ,
    "ui_alerts": Role.READ,
    "ui_alert": Role.READ,
    "ui_acknowledge": Role.OPERATE,
    "ui_runs": Role.READ,
    "ui_run": Role.READ,
    "ui_rejected": Role.READ,
    "ui_rejected_file": Role.READ,
    "ui_settings": Role.OPERATE,
    "ui_keys": Role.OPERATE,
    "ui_make_key": Role.ADMIN,
    "ui_revoke_key": Role.OPERATE,
    "ui_audit": Role.OPERATE,
    "ui_login": None,
    "ui_log_in": None,
    "ui_log_out": None,
    "ui_language": None,
    "ui_asset": None,
    "ui_missing": None,
}

_CHALLENGE = (b"www-authenticate", b'Bearer realm="sporeprint"')
_ASK = "send it as Authorization: Bearer KEY, or as X-API-Key: KEY"
NO_KEY = Problem(401, "no-key", "A key is needed", f"this needs an API key; {_ASK}", (_CHALLENGE,))
WRONG_KEY = Problem(401, "wrong-key", "The key is not taken", f"the API key is unknown, expired or revoked; {_ASK}", (_CHALLENGE,))
NOT_READ = retry("keys-unknown", "Not possible now", "the API keys could not be read yet; try again soon")
TOO_MANY = replace(retry("rate-limited", "Too many requests", "this key has made too many requests; try again soon"), status=429)
ELSEWHERE = Problem(
    403,
    "no-keys-yet",
    "Only for this machine",
    "there are no API keys, so that this machine alone may call, by the name localhost; to let others in: sporeprint keys create",
)


@dataclass
class TokenBucket:
    """Requests that a caller may still make: filled at a rate, up to a burst (a token bucket).

    Attributes:
        rate: requests a second; 0: any number.
        burst: most requests at once.
        left: requests that may be made now.
        at: when `left` was right, seconds of a clock that never goes back.
    """

    rate: float
    burst: int
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        if not self.rate:
            return True
        self.left = min(float(self.burst), self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        name: of the key; local, where there are no keys.
        roles: what it may do.
        bucket: what it may still ask for.
    """

    name: str
    roles: frozenset[Role]
    bucket: TokenBucket = field(compare=False)


def bootstrap_key(environ: Mapping[str, str]) -> ApiKey | None:
    """The key in the file that the environment names: it may do everything, and lets a container make its first calls.

    Raises:
        ConfigError: if the file cannot be read, or holds no key that is long enough.
    """
    if not (name := environ.get(BOOTSTRAP_VARIABLE)):
        return None
    try:
        secret = Path(name).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise ConfigError(f"{BOOTSTRAP_VARIABLE}: {name} cannot be read: {reason}") from None
    if secret.startswith(api_keys.PREFIX + "_"):
        raise ConfigError(f"{BOOTSTRAP_VARIABLE}: the key in {name} begins as those of sporeprint keys create do; make another one")
    if len(secret) < SHORTEST or any(character.isspace() for character in secret):
        raise ConfigError(
            f"{BOOTSTRAP_VARIABLE}: the key in {name} has {len(secret)} characters, expected at least {SHORTEST} without spaces; "
            "make one with: openssl rand -base64 32"
        )
    return ApiKey("bootstrap", api_keys.digest_of(secret), "bootstrap", EVERYTHING, created_us=0)


#: Runs a call in a thread.
Run: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


class Authenticator:
    """What this process knows of the keys."""

    def __init__(
        self,
        engine: Engine,
        root: Path,
        *,
        run: Run = asyncio.to_thread,
        exposed: bool,
        rate: float,
        burst: int,
        bootstrap: ApiKey | None = None,
    ) -> None:
        """Know nothing yet.

        Args:
            engine: of the OLTP database.
            run: runs what asks the database in a thread.
            root: the work directory.
            exposed: whether other machines can reach the server; then nobody is let in without a key.
            rate: requests a second that each caller may make; 0: any number.
            burst: most at once.
            bootstrap: a key beside those in the database.
        """
        self._run = run
        self._engine, self._file, self._exposed = engine, root / KEYS_FILE, exposed
        self._rate, self._burst, self._bootstrap = rate, burst, bootstrap
        self._keys: tuple[ApiKey, ...] | None = None
        self._by_id: dict[str, tuple[ApiKey, Caller]] = {}
        self._local = Caller("local", EVERYTHING, self._bucket())
        self._is_open = self._away = False
        self.limited = 0
        self._uses = KeyUses(engine)

    # --- requests

    def admit(self, scope: Scope, role: Requirement | None) -> Caller:
        """Let a request in. See `identify` and `authorize`."""
        caller = self.identify(scope, role)
        self.authorize(caller, role)
        return caller

    def identify(self, scope: Scope, role: Requirement | None) -> Caller:
        """Who calls.

        Args:
            scope: of the request.
            role: that it needs; None: nobody is asked.

        Raises:
            HttpProblemError: no key, or a wrong one.
        """
        if role is None:
            return self._local
        return self._local_caller(scope) if self._is_open else self._caller(scope)

    def authorize(self, caller: Caller, role: Requirement | None) -> None:
        """Let a caller do what needs a role.

        Raises:
            HttpProblemError: its key lacks the role, or has made too many requests.
        """
        if role is None:
            return
        if role is not AnyRole.ANY and role not in caller.roles:
            has = ", ".join(sorted(caller.roles)) or "none"
            detail = f"the key {caller.name!r} has no role {role.value!r}; its roles: {has}"
            raise HttpProblemError(Problem(403, "not-allowed", "The key may not do this", detail))
        if not caller.bucket.take(time.monotonic()):
            self.limited += 1
            raise HttpProblemError(TOO_MANY)

    def _local_caller(self, scope: Scope) -> Caller:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not is_loopback(hosts[0]):
            raise HttpProblemError(ELSEWHERE)
        return self._local

    def _caller(self, scope: Scope) -> Caller:
        secret = _secret(scope)
        if secret is None:
            raise HttpProblemError(NOT_READ if self._keys is None and self._bootstrap is None else NO_KEY)
        return self.key_of(secret)[1]

    def valid_key(self, key_id: str) -> tuple[ApiKey, Caller] | None:
        """A key that is taken now, by its id; None: there is none."""
        key, caller = self._by_id.get(key_id, (None, None))
        return None if key is None or caller is None or not key.is_valid(time.time_ns() // 1000) else (key, caller)

    def key_of(self, secret: str) -> tuple[ApiKey, Caller]:
        """The key that a secret is.

        Raises:
            HttpProblemError: if it is none that is taken.
        """
        digest = api_keys.digest_of(secret)
        key, caller = self._by_id.get(api_keys.id_of(secret) or "bootstrap", (None, None))
        # Also where there is no such key something is compared, so that the time taken does not tell.
        same = hmac.compare_digest(digest, key.digest if key else digest[::-1])
        if key is None and self._keys is None:
            raise HttpProblemError(NOT_READ)
        if not same or key is None or caller is None or not key.is_valid(time.time_ns() // 1000):
            raise HttpProblemError(WRONG_KEY)
        self._uses.add(key.key_id)
        return key, caller

    # --- keys

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator["Authenticator"]:
        """Read the keys, and go on doing so as long as the context lasts."""
        await self.refreshed()
        async with background_task(self._watch(), "keys"):
            yield self

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.refreshed()
            except Exception:  # whatever it was: without this task, no key would ever be revoked again
                log.exception("the API keys could not be read")

    async def refreshed(self) -> None:
        """Read the keys now; where that is not possible, what was known last counts until the next look."""
        try:
            await self._run(self.refresh)
        except StorageUnavailableError as error:  # it is silent
            self.unread(error)

    def refresh(self) -> bool:
        """Read the keys, and say whether that was possible; where it is not, what was known last counts."""
        try:
            keys = api_keys.listed(self._engine)
        except (StorageError, StorageUnavailableError) as error:
            self.unread(error)
            return False
        self._away = False
        if keys != self._keys:
            self._keys = keys
            self._take(keys)
            self._remember(keys)
        with contextlib.suppress(StorageError, StorageUnavailableError):  # it is noted the next time
            self._uses.note(time.time_ns() // 1000)
        return True

    def refresh_within(self, seconds: float) -> None:
        """Read the keys once, where there is no executor yet."""
        try:
            within(seconds, in_thread(self.refresh))
        except StorageUnavailableError as error:
            self.unread(error)

    def unread(self, error: Exception) -> None:
        """What was known last counts, in this process or before it started."""
        if self._keys is None:
            self._keys = self._remembered()
            self._take(self._keys)
        if not self._away:
            who = "nobody is let in" if not self.knows_keys else "those known last count"
            log.warning("the API keys cannot be read, %s: %s", who, error)
        self._away = True

    def key_named(self, name: str) -> ApiKey | None:
        """The key of a caller; None: it has none."""
        return next((key for key, caller in self._by_id.values() if caller.name == name), None)

    @property
    def needs_keys(self) -> bool:
        """Whether nobody is let in without one."""
        return not self._is_open

    @property
    def knows_keys(self) -> bool:
        """Whether it is known who may call; until then everybody is turned away."""
        return self._keys is not None or self._bootstrap is not None

    @property
    def any(self) -> bool:
        """Whether there is a key."""
        return bool(self._by_id)

    def _take(self, keys: tuple[ApiKey, ...] | None) -> None:
        before = self._by_id
        every = [*(keys or ()), *([self._bootstrap] if self._bootstrap else [])]
        # A bucket stays as empty as it is.
        buckets = {key_id: caller.bucket for key_id, (_, caller) in before.items()}
        self._by_id = {key.key_id: (key, Caller(key.name, key.roles, buckets.get(key.key_id) or self._bucket())) for key in every}
        self._is_open = keys is not None and not every and not self._exposed

    def _bucket(self) -> TokenBucket:
        return TokenBucket(self._rate, self._burst, float(self._burst), time.monotonic())

    def _remember(self, keys: tuple[ApiKey, ...]) -> None:
        values = [{**asdict(key), "roles": sorted(key.roles)} for key in keys]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file, json.dumps({"format": 1, "database": self._database(), "keys": values}))
            self._file.chmod(0o600)
        except OSError as error:  # then a restart while the database is away lets nobody in
            log.warning("%s cannot be written: %s", self._file, error.strerror)

    def _remembered(self) -> tuple[ApiKey, ...] | None:
        try:
            known = json.loads(self._file.read_bytes())
            if known["format"] != 1 or known["database"] != self._database():
                return None
            return tuple(ApiKey(**{**values, "roles": api_keys.roles_of(values["roles"])}) for values in known["keys"])
        except (OSError, ValueError, KeyError, TypeError, SporeprintError):
            return None

    def _database(self) -> str:
        """Which database the keys are of: those of another one are not taken."""
        return hashlib.sha256(self._engine.url.render_as_string(hide_password=True).encode()).hexdigest()


def _secret(scope: Scope) -> str | None:
    """The secret of the key that a request brings."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, secret = value.partition(b" ")
            if kind.lower() == b"bearer":
                return str(secret.strip().decode("latin-1"))
        elif name == b"x-api-key":
            return str(value.strip().decode("latin-1"))
    return None


def actor(caller: Caller) -> str:
    """A caller's name in the audit trail."""
    return f"key:{caller.name}"
