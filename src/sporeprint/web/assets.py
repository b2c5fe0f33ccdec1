"""The files that pages link: each under an address with its hash, so that a browser keeps it for good."""

import functools
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

MEDIA_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
#: Name in templates -> the files below `static` that it is made of.
NAMES: Mapping[str, tuple[str, ...]] = {
    "ui.css": ("tokens.css", "base.css", "ui.css", "charts.css"),
    "ui.js": ("ui.js",),
    "label.js": ("label.js",),
    "htmx.js": ("vendor/htmx-4.0.1.min.js",),
    "pictures.svg": ("pictures.svg",),
    "icon.svg": ("icon.svg",),
    "docs.css": ("tokens.css", "docs.css"),
    "docs.js": ("docs.js",),
}


@dataclass(frozen=True)
class Asset:
    """A file of the pages.

    Attributes:
        name: with which templates name it.
        digest: the first digits of its sha256.
        media_type: of HTTP.
        body: its bytes.
        packed: the same by gzip.
    """

    name: str
    digest: str
    media_type: str
    body: bytes
    packed: bytes

    @property
    def address(self) -> str:
        """Where it is, below the pages."""
        return f"assets/{self.digest}/{self.name}"


@functools.cache
def assets() -> Mapping[str, Asset]:
    """All of them, by name."""
    folder = files(__package__) / "static"
    return {name: _asset(name, b"".join((folder / path).read_bytes() for path in paths)) for name, paths in NAMES.items()}


def style_sheet(*names: str) -> Markup:
    """Style sheets as text, to be put into a page or a picture that is one file."""
    return Markup("".join((files(__package__) / "static" / name).read_text(encoding="utf-8") for name in names))  # noqa: S704 -- our own


def _asset(name: str, body: bytes) -> Asset:
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    return Asset(name, hashlib.sha256(body).hexdigest()[:12], media_type, body, gzip.compress(body, 9, mtime=0))
