"""Steps of a run: as lines of text, and as bars in a terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from sporeprint.cli.terminal import (
    printable,
    write_line,
)
from sporeprint.common.progress import Progress

if TYPE_CHECKING:  # rich loads for 0.1 s, which a plain run need not pay
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import ProgressColumn, TaskID

#: Seconds between two signs of life of a step that draws no bar.
HEARTBEAT_S = 30.0


class LineSteps:
    """Steps as plain lines: one when a step ends, and now and then one while a long one goes on."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Say how the step ended, and what it took."""
        progress = _Beats(name, self._stream, self._clock)
        outcome = "failed after"
        try:
            yield progress
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted after"
            raise
        finally:
            write_line(self._stream, f"{printable(name)} ... {outcome} {seconds(progress.elapsed())}")


class _Beats:
    """Progress that writes a line every `HEARTBEAT_S` seconds."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._name = name
        self._stream = stream
        self._clock = clock
        self._began = self._spoke = clock()
        self._total: int | None = None
        self._done = 0
        self._text = ""

    def elapsed(self) -> float:
        return self._clock() - self._began

    def total(self, amount: int | None) -> None:
        self._total = amount

    def advance(self, amount: int) -> None:
        self._done += amount
        self._beat()

    def text(self, text: str) -> None:
        self._text = text
        self._beat()

    def _beat(self) -> None:
        if (now := self._clock()) - self._spoke < HEARTBEAT_S:
            return
        self._spoke = now
        how_far = f"{min(self._done / self._total, 1):.0%}" if self._total else compact(self._done) if self._done else ""
        parts = [part for part in (how_far, self._text) if part]
        write_line(self._stream, f"{printable(self._name)} ... {printable(', '.join(parts))} after {seconds(self.elapsed())}")


def seconds(taken: float) -> str:
    """A time for people: 0.42 s, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if taken < 9.995:
        return f"{taken:.2f} s"
    if taken < 59.95:
        return f"{taken:.1f} s"
    minutes, rest = divmod(round(taken), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def compact(amount: float) -> str:
    """A count in a few characters: 999, 61.1k, 1.22M, 3.4G."""
    for unit in ("", "k", "M", "G"):
        if abs(amount) < 999.5:
            return f"{amount:.0f}" if not unit else f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:.3g}T"


class BarSteps:
    """Steps on a terminal: a bar while one goes on, a line with its time when it has ended."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Draw the step."""
        began = time.monotonic()
        outcome, mark, style = "failed after ", "✗", "red"
        try:
            with _bars(self._console) as bars:
                yield _Bar(bars, bars.add_task(printable(name), total=None, note=""))
            outcome, mark, style = "", "✓", "green"
        except KeyboardInterrupt:
            outcome = "interrupted after "
            raise
        finally:
            self._ended(name, mark, style, f"{outcome}{seconds(time.monotonic() - began)}")

    def _ended(self, name: str, mark: str, style: str, note: str) -> None:
        from rich.text import Text

        if self._console.options.ascii_only:
            mark = {"✓": "+", "✗": "x"}[mark]
        line = Text.assemble((mark, style), f" {printable(name):<14} ", (note, "dim" if style == "green" else style))
        with contextlib.suppress(OSError):
            self._console.print(line)


class _Bar:
    """One step's progress in its bar."""

    def __init__(self, bars: "Bars", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def total(self, amount: int | None) -> None:
        self._bars.update(self._task, total=amount)

    def advance(self, amount: int) -> None:
        self._bars.advance(self._task, amount)

    def text(self, text: str) -> None:
        self._bars.update(self._task, note=printable(text))


def _bars(console: "Console") -> "Bars":
    from rich.console import ConsoleRenderable
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    narrow = console.width < 80
    ascii_only = console.options.ascii_only
    rest = Column(ratio=1, no_wrap=True, overflow="crop" if ascii_only else "ellipsis")
    columns: list[ProgressColumn] = [
        SpinnerColumn("line" if ascii_only else "dots"),
        TextColumn("{task.description:<14}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12 if narrow else 24),
        _counts(brief=narrow),
        # The note takes the place that is left, and no more.
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=rest),
    ]

    class Narrower(Progress):
        """Leaves the end of the line free: the `^C` of an interrupt would wrap there, and the bar stay behind."""

        def get_renderable(self) -> ConsoleRenderable:
            return Constrain(super().get_renderable(), max(20, console.width - 4))

    return Narrower(*columns, console=console, transient=True, expand=True)


def _counts(*, brief: bool) -> "ProgressColumn":
    from rich.progress import ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Counts(ProgressColumn):
        """How much is done, of how much, how much a second, and how long the rest takes; or how long it has taken."""

        def render(self, task: Task) -> Text:
            parts = []
            if task.total:
                parts.append(f"{min(task.completed / task.total, 1):4.0%}")
            if task.completed and not brief:
                parts.append(f"{compact(task.completed)}/{compact(task.total)}" if task.total else compact(task.completed))
                parts += [f"{compact(task.speed)}/s"] if task.speed and task.speed >= 1 else []
            left = task.time_remaining if task.total else None
            parts.append(f"{clock(task.elapsed or 0)}" if left is None else f"{clock(left)} left")
            return Text("  ".join(parts))

    return Counts(Column(no_wrap=True))


def clock(taken: float) -> str:
    """A time that ticks: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(round(taken), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
