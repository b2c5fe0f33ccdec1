"""Messages to real servers on the loopback interface, and addresses that are never shown."""

import re
import time
from pathlib import Path

import pytest

from channel_server import hanging, hooked, mailing
from sporeprint.errors import ConfigError
from sporeprint.pipelines.notifications import address, hidden, pause_s, send
from sporeprint.settings import AlertSettings, ChannelSettings

TIMEOUT_S = 20.0


def test_a_web_hook_takes_it_or_says_why_not() -> None:
    with hooked() as hook:
        assert send(hook.url, "Title \N{MUSHROOM}", "first\nsecond", timeout_s=TIMEOUT_S) is None
        assert (hook.got[0]["title"], hook.got[0]["message"]) == ("Title \N{MUSHROOM}", "first\nsecond")
        hook.status = 500
        error = send(hook.url, "t", "b", timeout_s=TIMEOUT_S)
        assert error is not None
        assert "500" in error
        assert "secret-word" not in error
    gone = send(hook.url, "t", "b", timeout_s=TIMEOUT_S)
    assert gone is not None
    assert "secret-word" not in gone


def test_a_mail_server_takes_it() -> None:
    with mailing() as mail:
        url = f"mailto://127.0.0.1:{mail.port}?from=spore@example.org&to=ada@example.org&mode=insecure&smtp=127.0.0.1"
        assert send(url, "[critical] drift", "what to do", timeout_s=TIMEOUT_S) is None
    assert "Subject: [critical] drift" in mail.got[0]
    assert "what to do" in mail.got[0]


def test_a_channel_that_hangs_is_ended() -> None:
    with hanging() as port:
        began = time.monotonic()
        assert send(f"json://127.0.0.1:{port}", "t", "b", timeout_s=1.5) == "no answer within 1.5 seconds"
        assert time.monotonic() - began < 20


def test_an_address_that_nobody_knows() -> None:
    error = send("nothing-of-the-kind://x", "t", "b", timeout_s=TIMEOUT_S)
    assert error is not None
    assert error.startswith("the address names no service")


def test_addresses_come_from_the_configuration_the_environment_or_a_file(tmp_path: Path) -> None:
    assert address("a", ChannelSettings(url="json://h"), tmp_path) == "json://h"
    assert address("a", ChannelSettings(url_env="ONCALL"), tmp_path, {"ONCALL": " json://h \n"}) == "json://h"
    (tmp_path / "url").write_text("json://h\n", encoding="utf-8")
    assert address("a", ChannelSettings(url_file="url"), tmp_path) == "json://h"
    (tmp_path / "url").write_text(" ", encoding="utf-8")
    for channel, says in (
        (ChannelSettings(url_env="ONCALL"), "the environment variable ONCALL is empty"),
        (ChannelSettings(url_file="url"), "is empty"),
        (ChannelSettings(url_file="none"), "cannot read the address"),
    ):
        with pytest.raises(ConfigError, match=re.escape(says)):
            address("a", channel, tmp_path, {})


@pytest.mark.parametrize(
    "url", ["slack://TokenA123/TokenB456/TokenC789/#chan", "json://ada:pass-word@host.example:80/path-token?key=abcdef"]
)
def test_secrets_are_hidden(url: str) -> None:
    secrets = [each for each in ("TokenA123", "TokenB456", "TokenC789", "pass-word", "abcdef", "path-token") if each in url]
    text = hidden(f"Failed to send to {url}: {' '.join(secrets)} at host.example", url)
    assert not any(secret in text for secret in secrets)
    assert text.startswith("Failed to send to ***: ")
    assert "at host.example" in text


def test_pauses_grow_and_are_bounded() -> None:
    settings = AlertSettings(first_pause_s=10, most_pause_s=100)
    assert [pause_s(settings, attempts, lambda: 1.0) for attempts in (1, 2, 3, 4, 5, 1000)] == [10, 20, 40, 80, 100, 100]
    assert pause_s(settings, 3, lambda: 0.25) == 10
    assert 0 <= pause_s(settings, 3) <= 40
