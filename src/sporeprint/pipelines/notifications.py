"""Brings messages to the channels of the configuration: by Apprise, in time, again where that fails, and never showing an address."""

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sporeprint.errors import ConfigError
from sporeprint.settings import AlertSettings, ChannelSettings

#: From an address, a title and a body to why it failed; None: it was taken.
Send = Callable[[str, str, str], str | None]
#: Longest text of an error that is kept.
MOST_ERROR = 500


def address(name: str, channel: ChannelSettings, root: Path, env: Mapping[str, str] = os.environ) -> str:
    """The address of a channel.

    Raises:
        ConfigError: if it is not where the configuration says.
    """
    if channel.url is not None:
        return channel.url
    if channel.url_env is not None:
        if not (url := env.get(channel.url_env, "").strip()):
            raise ConfigError(f"alerts.channels.{name}: the environment variable {channel.url_env} is empty; it should hold the address")
        return url
    path = root / str(channel.url_file)
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"alerts.channels.{name}: cannot read the address from {path}: {error}") from error
    if not url:
        raise ConfigError(f"alerts.channels.{name}: {path} is empty; it should hold the address")
    return url


def send(url: str, title: str, body: str, *, timeout_s: float) -> str | None:
    """Send a message, and say why that failed; None if it was taken.

    Raises:
        ConfigError: if Apprise is not installed.
    """
    if importlib.util.find_spec("apprise") is None:
        raise ConfigError("alerts are sent by Apprise, which is not installed; run: pip install 'sporeprint[alerts]'")
    message = json.dumps({"url": url, "title": title, "body": body})
    command = [sys.executable, "-m", "sporeprint.pipelines.notify_worker"]
    try:
        done = subprocess.run(  # noqa: S603 -- this package's own program
            command, input=message, capture_output=True, text=True, encoding="utf-8", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} seconds"
    try:
        error = json.loads(done.stdout)["error"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        error = f"it could not be sent: {last}"
    return None if error is None else hidden(str(error), url)[:MOST_ERROR]


def hidden(text: str, url: str) -> str:
    """A text without an address, and without the parts of it that could be secrets: all but the service's name and the host."""
    parts = [part for part in re.split(r"[:/@?&=#]+", url.partition("://")[2]) if len(part) > 3 and not part.isdigit()]
    host = re.split(r"[:/?]", url.partition("://")[2].rpartition("@")[2])[0]
    shown = host if "." in host else None  # of many services the first token stands where others have a host
    for secret in (url, *sorted((part for part in parts if part != shown), key=len, reverse=True)):
        text = text.replace(secret, "***")
    return text


def pause_s(settings: AlertSettings, attempts: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after so many tries: any time up to twice the last one, so that not all try again at once (full jitter).

    Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    return chance() * min(settings.most_pause_s, settings.first_pause_s * 2.0 ** min(attempts - 1, 60))
