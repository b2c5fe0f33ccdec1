"""Ordered work in threads: the order holds, errors come out in their place, what waits is bounded."""

import threading
import time
from collections.abc import Iterator

import pytest

from sporeprint.parallel import ahead


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items_whatever_takes_longest(workers: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(ahead(work, range(20), workers=workers)) == [item * item for item in range(20)]


def test_an_error_comes_out_where_its_result_would_have() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    results = ahead(work, range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(results)


def test_no_more_items_are_taken_than_the_bound_allows() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    results = ahead(lambda item: item, items(), workers=2)
    assert next(results) == 0
    assert taken <= 3


def test_the_work_is_done_in_other_threads() -> None:
    seen = set(ahead(lambda _: threading.get_ident(), range(8), workers=2))
    assert threading.get_ident() not in seen
