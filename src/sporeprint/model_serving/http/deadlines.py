"""The time that a request may take.

One timer watches all requests of a worker. `asyncio.timeout` sets and cancels one for each, which takes a fiftieth of a prediction.
"""

import asyncio
from types import TracebackType
from typing import Self


class Deadlines:
    """The requests of one event loop that have to end in time."""

    def __init__(self) -> None:
        #: Deadline -> when it is, by the loop's clock.
        self.ends: dict[Deadline, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> "Deadline":
        """A context that its task has to leave within so many seconds."""
        return Deadline(self, seconds)

    def watch(self, end: float) -> None:
        """Look at this time, if not earlier."""
        if self._timer is not None:
            if self._timer.when() <= end:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(end, self._look)

    def _look(self) -> None:
        """Cancel what is late, and look again when something else may be."""
        now, self._timer = asyncio.get_running_loop().time(), None
        for deadline in [each for each, end in self.ends.items() if end <= now]:
            deadline.expire()
        if self.ends:
            self.watch(min(self.ends.values()))


class Deadline:
    """A context that its task has to leave in time: what is at work in it is cancelled, and it raises `TimeoutError`."""

    __slots__ = ("_cancelling", "_deadlines", "_is_late", "_seconds", "_task")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines, self._seconds, self._is_late = deadlines, seconds, False

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            RuntimeError: outside a task.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is a task's")
        self._task, self._cancelling = task, task.cancelling()
        self.put_off(self._seconds)
        return self

    def put_off(self, seconds: float) -> None:
        """Let it take so many seconds, from now on."""
        end = self._deadlines.ends[self] = asyncio.get_running_loop().time() + seconds
        self._deadlines.watch(end)

    def lift(self) -> None:
        """Let it take as long as it will, from now on."""
        self._deadlines.ends.pop(self, None)

    def expire(self) -> None:
        """Cancel what is at work: it is late."""
        self.lift()
        self._is_late = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lift()
        # Somebody else may have cancelled the task, too: that counts more.
        if self._is_late and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
