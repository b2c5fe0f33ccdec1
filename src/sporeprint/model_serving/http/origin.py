"""Which web pages may change something: those of this service, and those of origins that are listed.

A browser sends a request that needs no permission (a POST without a body, a form) on behalf of any page. It cannot be told by the Host
header, which names this service. So the headers count that the browser sets and no page can: Sec-Fetch-Site and, in browsers without it,
Origin. Programs that are no browsers send neither.
"""

from collections.abc import Container, Iterable
from urllib.parse import urlsplit

from sporeprint.model_serving.http.problems import HttpProblemError, Problem

#: Methods that change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a browser says of a page of this service, and of a request that no page makes.
OWN_PAGE, NO_PAGE = b"same-origin", b"none"
#: What a browser sends with what a page asks for.
FROM_BROWSERS = frozenset({b"sec-fetch-site", b"origin"})
PORTS = {"http": "80", "https": "443"}
CROSS_SITE = Problem(
    403,
    "cross-site",
    "Not from another site's page",
    "a web page of another origin may not do this; list the page's origin in serving.cors_origins to allow it",
)


def check_origin(headers: Iterable[tuple[bytes, bytes]], allowed: Container[str]) -> None:
    """Refuse a request that a page of another origin makes.

    Args:
        headers: of the request, names in lower case.
        allowed: origins that are listed, as https://example.org.

    Raises:
        HttpProblemError: 403, if the page is of another origin that is not listed.
    """
    sites: list[bytes] = []
    origins: list[bytes] = []
    hosts: list[bytes] = []
    for name, value in headers:
        if name == b"sec-fetch-site":
            sites.append(value.strip().lower())
        elif name == b"origin":
            origins.append(value.strip())
        elif name == b"host":
            hosts.append(value)
    if not sites and not origins:
        return
    if origins and all(origin.decode("latin-1") in allowed for origin in origins):
        return
    # What the browser says of the page counts more than what a proxy may have made of the host.
    is_own = bool(sites) and all(site == OWN_PAGE for site in sites)
    names_host = not origins or (len(hosts) == 1 and all(_is_host(origin, hosts[0]) for origin in origins))
    if not is_own and not (names_host and all(site == NO_PAGE for site in sites)):
        raise HttpProblemError(CROSS_SITE)


def _is_host(origin: bytes, host: bytes) -> bool:
    """Whether an origin names the host that a request was sent to."""
    try:
        parts = urlsplit(origin.decode("ascii").lower())
        default = PORTS[parts.scheme]
        name, port = parts.hostname or "", str(parts.port or default)
        own = urlsplit(f"//{host.decode('ascii').lower()}")
        is_origin = parts.geturl() == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
        return is_origin and bool(name) and (name, port) == (own.hostname, str(own.port or default))
    except (ValueError, KeyError):
        return False
