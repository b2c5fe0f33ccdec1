"""Secrets do not enter messages, logs or reports."""

import re


def redacted(address: str) -> str:
    """An address without its secrets: passwords, and values of parameters that look like secrets, are `***`.

    >>> redacted("mysql://reader:secret@db/sporeprint?api_key=1")
    'mysql://reader:***@db/sporeprint?api_key=***'
    """
    address = re.sub(r"^([\w+.-]+://)([^/?#:@]*):[^/?#]*@", r"\1\2:***@", address)
    address = re.sub(r"^(https?://)[^/?#:@]+@", r"\1***@", address)
    return re.sub(r"(?i)([?&][^=&#]*(?:token|key|secret|pass|sig|auth|cred)[^=&#]*=)[^&#]*", r"\1***", address)
