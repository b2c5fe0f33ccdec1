"""Bodies that are files: which kind they are, which kind is wanted back, and their way to the disk, never wholly in memory."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, parse_options_header

from sporeprint.model_serving.http.encodings import BoundedUnpacker
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, too_large
from sporeprint.model_serving.http.requests import ClientGoneError, Pace, Receive, Scope, content_encoding, idempotency_key
from sporeprint.storage.oltp.batch_file import retryable_write

#: Bytes that are written at a time.
PIECE = 1 << 20


class RowFormat(StrEnum):
    """Of rows."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    NDJSON = "ndjson"

    @property
    def is_json(self) -> bool:
        """Whether its rows are JSON objects."""
        return self in (RowFormat.JSON, RowFormat.NDJSON)

    @property
    def media_type(self) -> bytes:
        """As answers name it."""
        return _ANSWERS[self]


_ANSWERS = {
    RowFormat.JSON: b"application/json",
    RowFormat.NDJSON: b"application/json",
    RowFormat.CSV: b"text/csv; charset=utf-8",
    RowFormat.PARQUET: b"application/vnd.apache.parquet",
}
_TYPES = {
    "application/json": RowFormat.JSON,
    "text/csv": RowFormat.CSV,
    "application/vnd.apache.parquet": RowFormat.PARQUET,
    "application/x-parquet": RowFormat.PARQUET,
    "application/x-ndjson": RowFormat.NDJSON,
    "application/ndjson": RowFormat.NDJSON,
    "application/jsonl": RowFormat.NDJSON,
}
#: A type that says nothing: the parameter `format` says it.
ANY = "application/octet-stream"
#: A form with one file, as browsers send it.
FORM = "multipart/form-data"
_SUFFIXES = {
    ".json": RowFormat.JSON,
    ".csv": RowFormat.CSV,
    ".parquet": RowFormat.PARQUET,
    ".ndjson": RowFormat.NDJSON,
    ".jsonl": RowFormat.NDJSON,
}


@dataclass(frozen=True)
class UploadHead:
    """What the headers of a request with rows say.

    Attributes:
        form: format of the body.
        response_form: format of the response.
        key: of an idempotent request.
        limit: most bytes of the body, as it is sent and unpacked.
        encoding: how the body is compressed; None: it is not.
        boundary: of a form that holds the file; None: the body is the file.
    """

    form: RowFormat
    response_form: RowFormat
    key: str | None
    limit: int
    encoding: str | None = None
    boundary: bytes | None = None


def read_upload_head(scope: Scope, limits: Mapping[RowFormat, int], hint: RowFormat | None = None, *, forms: bool = False) -> UploadHead:
    """Look at the headers.

    Args:
        scope: of the request.
        limits: most bytes of a body in each format; a format that is missing is not read.
        hint: the parameter `format`.
        forms: whether a form with one file is read, too.

    Raises:
        HttpProblemError: if the body is too large or of another type, the answer cannot be of the type wanted, or the key is none.
    """
    headers = {bytes(name): bytes(value) for name, value in scope["headers"]}
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    boundary = _boundary(content_type) if forms else None
    form = RowFormat.CSV if boundary else _body_form(content_type, hint)
    encoding = content_encoding(headers)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:18]) > limits[form]:
        raise HttpProblemError(too_large(limits[form]))
    response_form = _response_form(headers.get(b"accept", b"").decode("latin-1"), RowFormat.JSON if boundary else form)
    return UploadHead(form, response_form, idempotency_key(headers), limits[form], encoding, boundary)


def _boundary(content_type: str) -> bytes | None:
    media, parameters = parse_options_header(content_type)
    return parameters.get(b"boundary") if media == FORM.encode() else None


def file_of_form(path: Path, boundary: bytes, out: Path) -> RowFormat:
    """Take the file out of a form, and find its format by its content type or name.

    Raises:
        HttpProblemError: if there is none, or it is of another kind.
    """
    forms: list[RowFormat] = []

    def on_file(part: File) -> None:
        name = (part.file_name or b"").decode("latin-1").lower()
        media = (part.content_type or "").partition(";")[0].strip().lower()
        form = _TYPES.get(media) or _SUFFIXES.get(Path(name).suffix)
        if form is None:
            raise HttpProblemError(
                _unsupported(f"not read here: a file {name[:60]!r} of type {media[:60]!r}; send one of {', '.join(_TYPES)}")
            )
        part.file_object.seek(0)
        with out.open("wb") as file:
            shutil.copyfileobj(part.file_object, file)
        forms.append(form)

    with path.open("rb") as body:
        parser = FormParser("multipart/form-data", None, on_file, boundary=boundary, config={"MAX_MEMORY_FILE_SIZE": PIECE})
        try:
            while part := body.read(PIECE):
                parser.write(part)
            parser.finalize()
        except FormParserError as error:
            raise HttpProblemError(Problem(400, "no-form", "The form cannot be read", f"the form is damaged: {error}")) from None
    if len(forms) != 1:
        raise HttpProblemError(Problem(400, "no-form", "The form cannot be read", f"expected one file in the form, got {len(forms)}"))
    return forms[0]


def _body_form(content_type: str, hint: RowFormat | None) -> RowFormat:
    media = content_type.partition(";")[0].strip().lower()
    if media == ANY and hint is not None:
        return hint
    form = _TYPES.get(media)
    if form is None:
        known = ", ".join(_TYPES)
        sentence = f"not read here: content type {content_type[:60]!r}; send one of {known}, or {ANY} with ?format={'|'.join(RowFormat)}"
        raise HttpProblemError(_unsupported(sentence))
    return form


def _response_form(accept: str, form: RowFormat) -> RowFormat:
    """The first type of those accepted that can be answered, by weight; that of the body where anything will do."""
    weighed = []
    for place, part in enumerate(accept.split(",")):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [text[2:] for text in parameters if text.startswith("q=")]
        try:
            weighed.append((-float(weights[0]) if weights else -1.0, place, media))
        except ValueError:
            continue
    for weight, _, media in sorted(weighed):
        if not weight:
            continue
        if media in ("*/*", "", ANY) or media == form.media_type.decode().partition(";")[0].partition("/")[0] + "/*":
            return form
        if media in _TYPES:
            return _TYPES[media]
    sentence = f"Accept: {accept[:100]!r}; answers are given as {', '.join(_TYPES)}"
    raise HttpProblemError(Problem(406, "not-acceptable", "The answer cannot be given in this form", sentence))


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported", "The body is of a kind that is not read here", detail)


async def spool(receive: Receive, path: Path, limit: int, pace: Pace, encoding: str | None = None) -> str:
    """Write a body to a file, and give its sha256.

    Args:
        receive: of the request.
        path: a file of one's own.
        limit: most bytes.
        pace: how slowly it may arrive.
        encoding: how the body is compressed: the file is unpacked, within the limit, too.

    Raises:
        HttpProblemError: if it is larger, or nothing came for so long.
        ClientGoneError: if the client hung up.
        JournalError: if it cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    unpacker = None if encoding is None else BoundedUnpacker(encoding, limit)
    clock = asyncio.get_running_loop().time
    begin = clock()
    with retryable_write("an upload"), path.open("wb", buffering=0) as file:
        waiting: list[bytes] = []
        held, more = 0, True
        while more:
            message = await pace.next(receive)
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part, more = message.get("body", b""), message.get("more_body", False)
            size, held = size + len(part), held + len(part)
            if more:
                pace.check(size, clock() - begin)
            if size > limit:
                raise HttpProblemError(too_large(limit))
            waiting.append(part)
            if held >= PIECE or not more:
                whole = b"".join(waiting)
                # In a thread: a disk that is slow must not hold up the others.
                await asyncio.to_thread(_write, file.write, digest.update, whole, unpacker)
                waiting, held = [], 0
    if unpacker is not None:
        unpacker.finish()
    return digest.hexdigest()


def _write(
    write: Callable[[memoryview], int | None], update: Callable[[bytes], None], data: bytes, unpacker: BoundedUnpacker | None
) -> None:
    update(data)
    for part in [data] if unpacker is None else unpacker.feed(data):
        left = memoryview(part)
        while left:
            left = left[write(left) or 0 :]
