"""Where tasks run: on this machine, or on a cluster. An engine runs one function over many tasks, and hands back what is small."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Protocol, TypeVar

from sporeprint.common.child_process import end_with_the_parent
from sporeprint.errors import RetryableError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs tasks.

    Attributes:
        workers: tasks that run at once.
        nodes: processes that a fit over all rows is shared out to.
        host: the address under which tasks reach this process.
    """

    @property
    def workers(self) -> int:
        """Tasks that run at once."""

    @property
    def nodes(self) -> int:
        """Processes that a fit over all rows is shared out to."""

    @property
    def host(self) -> str:
        """The address under which tasks reach this process."""

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The results of a function over tasks, in the tasks' order.

        Args:
            work: a function of a module. It may run more than once for a task: it writes files under final names, whole or not at all.
            tasks: values that can be pickled, as their results; a result is small, some MiB at most. They are taken one by one.

        Raises:
            Exception: what `work` raises.
            RetryableError: workers were lost.
        """

    def together(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """The results of a function over tasks that all run at once, and may wait for each other.

        Args:
            work: see `map`.
            tasks: no more than `workers`.

        Raises:
            Exception: what `work` raises.
            RetryableError: workers were lost, and with them all tasks.
        """


class LocalEngine:
    """Processes of this machine, started with the first tasks that are several; a single task runs in this one.

    A fit over all rows has this process, and its threads: they share memory.
    """

    nodes, host = 1, "127.0.0.1"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine`."""
        later = iter(tasks)
        first = list(islice(later, 2))
        if len(first) < 2 or self.workers == 1:
            yield from map(work, chain(first, later))
            return
        pool = self._processes()
        waiting: deque[Future[Result]] = deque()
        try:
            for task in chain(first, later):
                waiting.append(pool.submit(work, task))
                if len(waiting) > self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            self._pool = None
            raise RetryableError("a process of this run ended without a word, killed for its memory perhaps; run it again") from error
        finally:
            for future in waiting:
                future.cancel()

    def together(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """See `Engine`."""
        return list(self.map(work, tasks))

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Forked processes would have copies of this one's locked locks.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=end_with_the_parent)
        return self._pool

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
