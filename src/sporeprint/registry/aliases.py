"""Which version an alias stands for, and its history, as one value.

An alias is `production`, or a model's name, which stands for that model's champion.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Self

PRODUCTION = "production"
#: Of the file. Format 1, which has no digest, is read; what is written next has one.
FORMAT = 2


@dataclass(frozen=True)
class Pin:
    """A version, and the sha256 of its manifest at the time it was chosen."""

    ref: str
    manifest: str


@dataclass(frozen=True)
class AliasChange:
    """One promotion or rollback of an alias.

    Attributes:
        when: ISO time.
        alias: its name.
        origin: the ref it stood for before; None for the first time.
        to: the ref it stands for since.
        reason: why, for people.
        by: who or what changed it.
        undo: whether it is a rollback.
    """

    when: str
    alias: str
    origin: str | None
    to: str
    reason: str
    by: str
    undo: bool = False


@dataclass(frozen=True)
class Aliases:
    """All aliases of a registry.

    Attributes:
        pins: alias -> version.
        history: every change, oldest first.
    """

    pins: Mapping[str, Pin] = field(default_factory=dict)
    history: tuple[AliasChange, ...] = ()

    def promoted(self, alias: str, pin: Pin, *, reason: str, by: str, now: datetime, undo: bool = False) -> Self:
        """With one alias set to another version. The version it already stands for changes nothing."""
        current = self.pins.get(alias)
        if current == pin:
            return self
        change = AliasChange(now.isoformat(timespec="seconds"), alias, None if current is None else current.ref, pin.ref, reason, by, undo)
        return replace(self, pins={**self.pins, alias: pin}, history=(*self.history, change))

    def previous(self, alias: str) -> str | None:
        """The ref a rollback would go back to; None: there is none."""
        stack: list[str | None] = []
        for change in self.history:
            if change.alias == alias and change.undo:
                stack.pop()
            elif change.alias == alias:
                stack.append(change.origin)
        return stack[-1] if stack else None

    def to_json(self) -> str:
        """JSON, history included."""
        pins = {alias: asdict(pin) for alias, pin in sorted(self.pins.items())}
        content = {"aliases": pins, "history": [asdict(change) for change in self.history]}
        return json.dumps({"format": FORMAT, "sha256": _digest(content), **content}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text holds no aliases of a known format, or was altered.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or set(raw) != _KEYS.get(str(raw.get("format"))):
            raise ValueError(f"not aliases of format 1 or {FORMAT}")
        if raw["format"] == FORMAT and raw["sha256"] != _digest({name: raw[name] for name in ("aliases", "history")}):
            raise ValueError("its sha256 is not that of its content")
        try:
            pins = {alias: Pin(**pin) for alias, pin in raw["aliases"].items()}
            return cls(pins, tuple(AliasChange(**change) for change in raw["history"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not aliases of format {raw['format']}: {error}") from error


_KEYS = {"1": {"format", "aliases", "history"}, str(FORMAT): {"format", "sha256", "aliases", "history"}}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
