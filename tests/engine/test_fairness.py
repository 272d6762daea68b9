"""Least service first, by user and then by job."""

from __future__ import annotations

from easel.engine.fairness import FairOrder, Shares


def serve(order: FairOrder, waiting: dict[str, set[str]], turns: int, cost: dict[str, float]) -> dict[str, float]:
    served: dict[str, float] = {}
    for _ in range(turns):
        user, job = order.order(waiting)[0]
        order.charge(user, job, cost[job])
        served[job] = served.get(job, 0.0) + cost[job]
    return served


def test_users_with_unequal_load_get_equal_service() -> None:
    waiting = {"many": {"a", "b", "c", "d"}, "one": {"e"}}
    served = serve(FairOrder(), waiting, 1000, {"a": 1, "b": 1, "c": 2, "d": 0.5, "e": 1})
    many = sum(served[job] for job in "abcd")
    assert abs(many - served["e"]) <= 2
    assert max(served[job] for job in "abcd") - min(served[job] for job in "abcd") <= 2


def test_a_newcomer_starts_at_the_least_service_and_does_not_starve_the_others() -> None:
    order = FairOrder()
    serve(order, {"old": {"a"}}, 1000, {"a": 1})
    served = serve(order, {"old": {"a"}, "new": {"b"}}, 100, {"a": 1, "b": 1})
    assert abs(served["a"] - served["b"]) <= 1


def test_nobody_saves_up_credit_by_being_away_nor_loses_his_half_after() -> None:
    shares = Shares()
    both = {"a", "b"}
    together = {"a": 0, "b": 0}
    for turn in range(1000):
        away = turn % 5 == 0  # "a", that is
        name = shares.order({"b"} if away else both)[0]
        shares.charge(name, 1)
        if not away:
            together[name] += 1
    assert abs(together["a"] - together["b"]) <= 5


def test_a_user_who_waits_for_another_model_keeps_what_is_due() -> None:
    shares = Shares()
    waiting = {"a", "b"}
    shares.order(waiting)
    for _ in range(10):
        shares.order(waiting)
        shares.charge("a", 1)  # the engine stayed with a's model although b was first
    assert [shares.order(waiting)[0] for _ in range(3)] == ["b", "b", "b"]


def test_the_books_do_not_grow() -> None:
    order = FairOrder()
    for number in range(1000):
        waiting = {"user": {f"job{number}", f"job{number + 1}"}}
        for _ in range(4):
            user, job = order.order(waiting)[0]
            order.charge(user, job, 1)
    assert len(order._jobs["user"]._service) < 10
