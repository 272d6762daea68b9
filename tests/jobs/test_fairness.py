from __future__ import annotations

from easel.jobs.fairness import FairQueue


def test_one_users_items_keep_their_order() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in (1, 2, 3):
        queue.put("ann", item)
    assert [queue.take() for _ in range(4)] == [1, 2, 3, None]


def test_a_late_user_does_not_wait_for_a_crowd() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(10):
        queue.put("ann", f"ann{number}")
    assert queue.take() == "ann0"
    queue.finished("ann", 5.0)
    queue.put("bob", "bob0")
    assert queue.take() == "ann1"  # bob starts level: no credit from the time he was away
    queue.finished("ann", 5.0)
    assert queue.take() == "bob0"


def test_unequal_items_are_evened_out_in_seconds() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.put("slow", "slow")
        queue.put("quick", "quick")
    service = {"slow": 0.0, "quick": 0.0}
    for _ in range(60):
        user = queue.take()
        assert user is not None
        seconds = 4.0 if user == "slow" else 1.0
        service[user] += seconds
        queue.finished(user, seconds)
    assert abs(service["slow"] - service["quick"]) <= 4.0


def test_who_comes_back_has_saved_nothing_up() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.put("bob", "bob")
    queue.take()
    for _ in range(5):
        queue.put("ann", "ann")
        queue.take()
        queue.finished("ann", 10.0)
    queue.finished("bob", 1.0)
    queue.put("ann", "ann")
    queue.put("bob", "bob")
    queue.put("ann", "ann")
    queue.put("bob", "bob")
    taken = []
    while (user := queue.take()) is not None:
        taken.append(user)
        queue.finished(user, 1.0)
    assert sorted(taken) == ["ann", "ann", "bob", "bob"]
    assert taken != ["bob", "bob", "ann", "ann"]


def test_waiting_items_can_be_taken_out() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.put("ann", 1)
    queue.put("ann", 2)
    assert queue.remove("ann", 1)
    assert not queue.remove("ann", 1)
    assert (queue.take(), queue.take(), len(queue)) == (2, None, 0)
