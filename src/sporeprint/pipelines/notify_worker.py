"""`python -m sporeprint.pipelines.notify_worker`: sends one message, in a process of its own, which can be ended when a channel hangs.

The address comes on the standard input, not among the arguments: those stand in the process list. So does what is to be said.
"""

import json
import sys


def main() -> None:
    """Send what the standard input says: {"url", "title", "body"}; print {"error"}, null where it was taken."""
    import apprise

    message = json.load(sys.stdin)
    with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as log:  # type: ignore[no-untyped-call]
        sender = apprise.Apprise()
        if not sender.add(message["url"]):
            error = "the address names no service that Apprise knows; see https://github.com/caronc/apprise/wiki"
        elif sender.notify(title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT):
            error = None
        else:
            error = " ".join(log.getvalue().split()) or "the service did not take it"
    json.dump({"error": error}, sys.stdout)


if __name__ == "__main__":
    main()
