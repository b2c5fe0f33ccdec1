"""The process that sends one message."""

import json
import subprocess
import sys

from channel_server import hooked


def sent(given: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sporeprint.pipelines.notify_worker"]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_what_it_is_told_on_its_standard_input() -> None:
    with hooked() as hook:
        done = sent(json.dumps({"url": hook.url, "title": "t", "body": "b"}))
    assert json.loads(done.stdout) == {"error": None}
    assert (hook.got[0]["title"], hook.got[0]["message"]) == ("t", "b")


def test_what_is_no_message_fails() -> None:
    assert sent("{").returncode != 0
