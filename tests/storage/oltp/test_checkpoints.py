"""Notes that several processes keep together."""

import threading

import pytest
from sqlalchemy import Engine

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import checkpoints
from sporeprint.storage.oltp.checkpoints import LostError
from sporeprint.storage.oltp.tables import metadata


@pytest.fixture
def each(empty: Engine) -> Engine:
    metadata.create_all(empty)
    return empty


def test_a_change_names_what_it_found(each: Engine) -> None:
    with writing(each) as connection:
        assert checkpoints.read(connection, "x") == (0, None)
        assert checkpoints.write(connection, "x", 0, {"at": 1}) == 1
        assert checkpoints.write(connection, "x", 1, {"at": 2}) == 2
    with pytest.raises(LostError), writing(each) as connection:
        checkpoints.write(connection, "x", 1, {"at": 3})
    with pytest.raises(LostError), writing(each) as connection:
        checkpoints.write(connection, "x", 0, {"at": 3})
    with reading(each) as connection:
        assert checkpoints.read(connection, "x") == (2, {"at": 2})


def test_a_lease_is_one_holders_until_it_ends(each: Engine) -> None:
    assert checkpoints.lease(each, "l", "one", now_us=0, until_us=10)
    assert not checkpoints.lease(each, "l", "two", now_us=9, until_us=20)
    assert checkpoints.lease(each, "l", "one", now_us=9, until_us=15)
    assert checkpoints.lease(each, "l", "two", now_us=15, until_us=30)
    assert not checkpoints.lease(each, "l", "one", now_us=16, until_us=40)
    checkpoints.release(each, "l", "one")
    assert not checkpoints.lease(each, "l", "one", now_us=16, until_us=40)
    checkpoints.release(each, "l", "two")
    assert checkpoints.lease(each, "l", "one", now_us=16, until_us=40)


def test_of_many_that_want_a_lease_one_gets_it(each: Engine) -> None:
    got: list[bool] = []
    threads = [
        threading.Thread(target=lambda name: got.append(checkpoints.lease(each, "l", name, now_us=0, until_us=10)), args=(str(number),))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(True) == 1


def test_alone_one_after_the_other(each: Engine) -> None:
    inside, most = 0, []

    def work() -> None:
        nonlocal inside
        with writing(each) as connection:
            checkpoints.alone(connection, "here")
            inside += 1
            most.append(inside)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
