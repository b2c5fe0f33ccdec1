"""Which version an alias stands for, and how it came to: a value with its whole history.

An alias is `production`, or a model's name, which stands for that model's champion.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Self

PRODUCTION = "production"


@dataclass(frozen=True)
class Pin:
    """A version, and the sha256 of its manifest at the time it was chosen."""

    ref: str
    manifest: str


@dataclass(frozen=True)
class AliasChange:
    """One change of an alias.

    Attributes:
        when: ISO time.
        alias: what moved.
        origin: the ref it stood for before; None for the first time.
        to: the ref it stands for since.
        reason: why, for people.
        by: who or what moved it.
        undo: whether it takes back an earlier move.
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
        history: every move, oldest first.
    """

    pins: Mapping[str, Pin] = field(default_factory=dict)
    history: tuple[AliasChange, ...] = ()

    def moved(self, alias: str, pin: Pin, *, reason: str, by: str, now: datetime, undo: bool = False) -> Self:
        """With one alias moved. Moving it to where it already is changes nothing."""
        current = self.pins.get(alias)
        if current == pin:
            return self
        move = AliasChange(now.isoformat(timespec="seconds"), alias, None if current is None else current.ref, pin.ref, reason, by, undo)
        return replace(self, pins={**self.pins, alias: pin}, history=(*self.history, move))

    def before(self, alias: str) -> str | None:
        """The ref the alias would go back to: where its last move that nobody took back came from. None: nowhere."""
        stack: list[str | None] = []
        for move in self.history:
            if move.alias == alias and move.undo:
                stack.pop()
            elif move.alias == alias:
                stack.append(move.origin)
        return stack[-1] if stack else None

    def to_json(self) -> str:
        """JSON, history included."""
        pins = {alias: asdict(pin) for alias, pin in sorted(self.pins.items())}
        return json.dumps({"format": 1, "aliases": pins, "history": [asdict(move) for move in self.history]}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text holds no aliases of a known format.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("format") != 1:
            raise ValueError("not aliases of format 1")
        try:
            pins = {alias: Pin(**pin) for alias, pin in raw["aliases"].items()}
            return cls(pins, tuple(AliasChange(**move) for move in raw["history"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not aliases of format 1: {error}") from error
