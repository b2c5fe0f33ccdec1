"""Sessions of people: a cookie that stands for an API key, on the pages alone.

The cookie holds the key's id and the session's end, signed with a secret of the server and the key's hash. So nothing is stored, every
worker can check it, and it is worth nothing as soon as its key is revoked or expired. No endpoint outside `/ui/` looks at it.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from sporeprint.errors import ConfigError
from sporeprint.model_serving.http.authentication import Authenticator, Caller, TokenBucket
from sporeprint.storage.oltp.api_keys import ApiKey

COOKIE, SECURE_COOKIE = "sporeprint", "__Host-sporeprint"
SECRET_FILE, SECRET_VARIABLE = Path("data/session.key"), "SPOREPRINT_SESSION_KEY_FILE"
SECRET_BYTES = 32
LIFE_S = 12 * 3600
#: Failed log-ins that an address has at once, and a second; addresses that are remembered.
FAILURES, FAILURES_PER_S, MOST_ADDRESSES = 5, 5 / 60, 10_000


class Sessions:
    """Makes and checks the cookies of one server."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._attempts: OrderedDict[str, TokenBucket] = OrderedDict()

    @classmethod
    def open(cls, root: Path, environ: Mapping[str, str]) -> "Sessions":
        """With the secret that all workers share: that of the file the environment names, or one of the work directory's own.

        Raises:
            ConfigError: if the file that is named cannot be read or is too short.
        """
        if name := environ.get(SECRET_VARIABLE):
            try:
                secret = Path(name).read_bytes().strip()
            except OSError as error:
                raise ConfigError(f"{SECRET_VARIABLE}: {name} cannot be read: {error.strerror}") from None
            if len(secret) < SECRET_BYTES:
                raise ConfigError(f"{SECRET_VARIABLE}: {name} holds {len(secret)} bytes, expected at least {SECRET_BYTES}")
            return cls(secret)
        return cls(_own_secret(root / SECRET_FILE))

    def cookie(self, key: ApiKey, *, is_secure: bool) -> str:
        """The value of Set-Cookie that begins a session."""
        end = int(time.time()) + LIFE_S
        body = f"{key.key_id}.{end}"
        value = base64.urlsafe_b64encode(f"{body}.{self._signature(body, key)}".encode()).decode().rstrip("=")
        return _set_cookie(value, LIFE_S, is_secure=is_secure)

    def end(self, *, is_secure: bool) -> str:
        """The value of Set-Cookie that ends a session."""
        return _set_cookie("", 0, is_secure=is_secure)

    def caller(self, headers: Mapping[bytes, bytes], access: Authenticator) -> Caller | None:
        """Who has the session of a request; None: nobody has, or it is over."""
        cookies: SimpleCookie = SimpleCookie()
        with contextlib.suppress(CookieError):
            cookies.load(headers.get(b"cookie", b"").decode("latin-1"))
        morsel = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE)
        if morsel is None:
            return None
        try:
            padded = morsel.value + "=" * (-len(morsel.value) % 4)
            key_id, end, signature = base64.urlsafe_b64decode(padded).decode("ascii").split(".")
            is_over = int(end) < time.time()
        except ValueError:
            return None
        key = access.valid_key(key_id)
        if key is None or is_over or not hmac.compare_digest(signature, self._signature(f"{key_id}.{end}", key[0])):
            return None
        return key[1]

    def may_try(self, address: str) -> bool:
        """Whether an address may try another log-in: each failed one counts."""
        bucket = self._attempts.setdefault(address, TokenBucket(FAILURES_PER_S, FAILURES, FAILURES, time.monotonic()))
        self._attempts.move_to_end(address)
        while len(self._attempts) > MOST_ADDRESSES:
            self._attempts.popitem(last=False)
        return bucket.take(time.monotonic())

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._attempts.pop(address, None)

    def _signature(self, body: str, key: ApiKey) -> str:
        own = hmac.digest(self._secret, key.digest.encode(), "sha256")
        return hmac.new(own, body.encode(), hashlib.sha256).hexdigest()


def _set_cookie(value: str, seconds: int, *, is_secure: bool) -> str:
    name, secure = (SECURE_COOKIE, "; Secure") if is_secure else (COOKIE, "")
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def _own_secret(path: Path) -> bytes:
    """The secret in a file, which the first worker makes: whole, or not at all."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 -- with its rights from the start
        file.write(secrets.token_bytes(SECRET_BYTES))
    with contextlib.suppress(FileExistsError):  # another worker was first
        os.link(part, path)
    part.unlink()
    return path.read_bytes()
