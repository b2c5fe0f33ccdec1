"""Work ahead of its consumer: in order, bounded, and without swallowing an error."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sporeprint.common.parallel import ahead

PATIENCE = 30.0


@hypothesis_settings(max_examples=30)
@given(st.lists(st.integers(), max_size=20), st.integers(1, 4))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    assert list(ahead(lambda item: item * 2, items, workers=workers)) == [item * 2 for item in items]


def test_a_slow_first_item_does_not_lose_its_place() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(PATIENCE)
        if item == 1:
            second_is_done.set()
        return item

    assert list(ahead(work, range(5), workers=2)) == [0, 1, 2, 3, 4]


def test_items_are_worked_on_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    assert len(list(ahead(lambda _: both.wait(), range(4), workers=2))) == 4


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_more_items_are_asked_for_than_may_wait(workers: int) -> None:
    asked = []

    def items() -> Iterator[int]:
        for number in range(20):
            asked.append(number)
            yield number

    results = ahead(lambda item: item, items(), workers=workers)
    assert asked == []
    for done in range(1, 10):
        next(results)
        assert len(asked) == done + workers
    results.close()  # type: ignore[attr-defined]  # it is a generator, which the annotation need not promise
    assert len(asked) == 9 + workers


def test_an_error_in_the_work_comes_out_where_its_result_would_have() -> None:
    def work(item: int) -> float:
        return 1 / (item - 2)

    results = ahead(work, range(5), workers=2)
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_in_the_items_comes_out_and_the_work_begun_is_waited_for() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        yield 1
        raise OSError("the source went away")

    with pytest.raises(OSError, match="the source went away"):
        list(ahead(done.append, items(), workers=2))
    assert done == [1]


def test_who_stops_listening_stops_the_work() -> None:
    begun = []
    second, go_on = threading.Event(), threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            second.set()
        assert item == 0 or go_on.wait(PATIENCE)
        return item

    results = ahead(work, range(50), workers=1)
    assert next(results) == 0
    assert second.wait(PATIENCE)  # a future that has not begun would be cancelled, too
    threading.Timer(0.05, go_on.set).start()
    results.close()  # type: ignore[attr-defined]  # it is a generator, which the annotation need not promise
    assert begun == [0, 1]


def test_nothing_to_do() -> None:
    assert list(ahead(lambda item: item, [], workers=3)) == []
