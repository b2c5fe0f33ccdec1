"""Files from http(s) addresses: bounded in size, tried again after passing failures.

By hand, because what fsspec or pooch would bring (S3, caches) is not asked for, and the bound on the size would stay.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from sporeprint import __version__
from sporeprint.common.progress import Progress
from sporeprint.common.redaction import redacted
from sporeprint.errors import DataError, RetryableError, SourceUnavailableError
from sporeprint.settings import DownloadSettings

#: Statuses after which the same request may succeed.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Longest pause between two tries, and longest one a server may ask for, in seconds.
MAX_PAUSE, MAX_ASKED = 30.0, 300.0

Sleep = Callable[[float], None]
Clock = Callable[[], datetime]


class _PassingError(RetryableError):
    """A try failed in a way that another one may not."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def fetch(url: str, target: Path, limits: DownloadSettings, *, progress: Progress, now: Clock, sleep: Sleep = time.sleep) -> None:
    """Download an address into a file, trying again after passing failures, with growing pauses.

    Raises:
        SourceUnavailableError: no try succeeded.
        DataError: the address is wrong, refused, or holds more than allowed.
        OSError: the file cannot be written.
    """
    address, shown = _address(url), redacted(url)
    with _client(address, limits) as client:
        for number in range(limits.retries + 1):
            try:
                _receive(client, address, target, limits.max_mb, shown, progress=progress, now=now)
            except _PassingError as failure:
                pause = max(failure.pause_s, min(2.0**number, MAX_PAUSE))
                if number == limits.retries or pause > MAX_ASKED:
                    request_to_wait = f"; it asks to wait {failure.pause_s:.0f} s" if failure.pause_s else ""
                    tries = f"{number + 1} {'try' if number == 0 else 'tries'}"
                    raise SourceUnavailableError(f"{shown} cannot be reached, after {tries}: {failure}{request_to_wait}") from failure
                progress.text(f"{failure}; trying again in {pause:.0f} s")
                sleep(pause)
            else:
                return


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        raise DataError(f"{redacted(url)!r} is no address; expected https://host/path") from None
    if not address.host:
        raise DataError(f"{redacted(url)!r} names no host; expected https://host/path")
    return address


def _client(address: httpx.URL, limits: DownloadSettings) -> httpx.Client:
    return httpx.Client(
        auth=(address.username, address.password) if address.userinfo else None,
        headers={"User-Agent": f"sporeprint/{__version__}", "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(limits.timeout_s, connect=min(limits.timeout_s, 10.0)),
        follow_redirects=True,
    )


def _receive(client: httpx.Client, address: httpx.URL, target: Path, max_mb: float, shown: str, *, progress: Progress, now: Clock) -> None:
    received = 0
    try:
        # Name and password go in a header only: httpx logs addresses as they are.
        with client.stream("GET", address.copy_with(userinfo=b"")) as response, target.open("wb") as file:
            _check_status(response, shown, now)
            length = response.headers.get("Content-Length", "")
            progress.total(int(length) if length.isdecimal() else None)
            for chunk in response.iter_bytes():
                received += len(chunk)
                if received > max_mb * 1e6:
                    raise DataError(f"{shown} holds more than {max_mb:g} MB; if that is right, raise source.download.max_mb")
                file.write(chunk)
                progress.advance(len(chunk))
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.DecodingError) as error:
        raise DataError(f"{shown}: {error}") from error
    except httpx.TransportError as error:
        # A body shorter than its Content-Length ends here too.
        progress.advance(-received)
        waited = f"no answer within {client.timeout.read:g} s"
        raise _PassingError(waited if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__) from error
    if not received:
        raise DataError(f"{shown} is empty")


def _check_status(response: httpx.Response, shown: str, now: Clock) -> None:
    if response.is_success:
        return
    answer = f"the server answers {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in PASSING:
        raise _PassingError(answer, _requested_pause(response.headers.get("Retry-After", ""), now))
    raise DataError(f"{shown}: {answer}; check the address, or download the table by hand and name it with --source FILE")


def _requested_pause(header: str, now: Clock) -> float:
    """Seconds that `Retry-After` asks for: a number, or a date."""
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now()).total_seconds())
