"""Work in a process of its own, which ends with the process that started it, however that ended."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Result = TypeVar("Result")


class ChildDiedError(Exception):
    """The process ended in the middle of its work.

    Attributes:
        exit_code: of the process; the negative number of a signal.
    """

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"the process ended with {exit_code}")
        self.exit_code = exit_code


class ChildProcess:
    """A process that does one piece of work at a time, for one thread at a time."""

    def __init__(self, prepare: Callable[..., None] | None = None, *arguments: Any) -> None:
        """Start it.

        Args:
            prepare: is called in the process before any work.
            arguments: of `prepare`.
        """
        # Not by a fork: the threads and locks of a server must not be copied.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def items(self, work: Callable[..., Iterator[Any]], *arguments: Any, seconds: float | None = None) -> Iterator[Any]:
        """What a generator function yields in the process, each item as it comes. Who stops early ends the process.

        Raises:
            ChildDiedError: the process ended.
            TimeoutError: it was silent for so many seconds, and was killed.
            Exception: what `work` raises.
        """
        is_done = False
        try:
            self._pipe.send((work, arguments))
            while True:
                if not self._pipe.poll(seconds):
                    raise TimeoutError
                kind, value = self._pipe.recv()
                if kind == "item":
                    yield value
                    continue
                is_done = True
                if kind == "error":
                    raise value
                return
        except (EOFError, ConnectionError):
            self._process.join()
            raise ChildDiedError(self._process.exitcode) from None
        finally:
            if not is_done:
                self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def run_in_child(work: Callable[..., Result], *arguments: Any, seconds: float | None = None) -> Result:
    """The result of one call in a process of its own. See `ChildProcess.items` for its errors."""
    child = ChildProcess()
    try:
        (result,) = child.items(_once, work, arguments, seconds=seconds)
    finally:
        child.kill()
    return result  # type: ignore[no-any-return]


# --- in the process ------------------------------------------------------------------------------------------------------


def _once(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
    yield work(*arguments)


def _serve(pipe: Connection, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the parent decides
    end_with_the_parent()
    if prepare is not None:
        prepare(*arguments)
    with contextlib.suppress(EOFError, OSError):
        while True:
            work, arguments = pipe.recv()
            try:
                for item in work(*arguments):
                    pipe.send(("item", item))
            except Exception as error:  # noqa: BLE001 -- it is raised where the work was asked for
                error.add_note(traceback.format_exc())
                pipe.send(("error", error))
            else:
                pipe.send(("end", None))


def end_with_the_parent() -> None:
    """Let this process end when its parent does: one that is killed tells nobody, and its processes would wait for work for ever."""
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
