"""What clients poll while pictures are made, and what stops them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from .conftest import Serve, Service, opened

LONG = {"prompt": "a cat", "steps": 1000, "width": 64, "height": 64, "seed": 1}


@pytest.fixture
def slow(serve: Serve) -> Service:
    return serve(step_seconds=0.01)


def begin(service: Service, body: dict[str, Any]) -> Future[Any]:
    """Send a request from another thread and wait until it runs."""
    pool = ThreadPoolExecutor(1)
    answer = pool.submit(service.post, "txt2img", body)
    pool.shutdown(wait=False)
    until(lambda: service.get("progress")["state"]["sampling_step"] > 2)
    return answer


def until(look: Callable[[], Any]) -> Any:
    """What `look` sees, once it is something."""
    for _ in range(1000):
        if seen := look():
            return seen
        time.sleep(0.01)
    pytest.fail("this never came to be")


def test_idle_is_all_zero(service: Service, recorded: Callable[[str], Any]) -> None:
    golden, answer = recorded("api/get_progress")["body"], service.get("progress")
    assert list(answer) == list(golden)
    assert list(answer["state"]) == list(golden["state"])
    assert (answer["progress"], answer["eta_relative"], answer["state"]["job_count"]) == (0, 0, 0)
    assert answer["current_image"] is None


def test_a_running_job(slow: Service) -> None:
    answer = begin(slow, LONG)
    first = slow.get("progress")
    state = first["state"]
    assert (state["job"], state["job_count"], state["job_no"]) == ("scripts_txt2img", 1, 0)
    assert (state["sampling_steps"], state["interrupted"]) == (1000, False)
    assert first["progress"] == pytest.approx(0.01 + state["sampling_step"] / 1000)
    assert first["eta_relative"] > 0
    assert opened(until(lambda: slow.get("progress")["current_image"])).size[0] > 0
    assert slow.get("progress", skip_current_image="true")["current_image"] is None
    slow.post("interrupt", None)
    answer.result()
    assert slow.get("progress")["progress"] == 0


def test_interrupt_answers_with_what_there_is(slow: Service, recorded: Callable[[str], Any]) -> None:
    answer = begin(slow, LONG | {"n_iter": 3})
    assert slow.get("progress")["state"]["job"] == "Batch 1 out of 3"
    assert slow.post("interrupt", "") == recorded("api/post_interrupt")["body"]
    body = answer.result()
    info = json.loads(body["info"])
    assert len(body["images"]) == 1
    assert (len(info["all_seeds"]), len(info["infotexts"])) == (3, 1)
    assert info["easel"]["interrupted"] is True


def test_skip_ends_only_the_present_batch(slow: Service, recorded: Callable[[str], Any]) -> None:
    answer = begin(slow, LONG | {"n_iter": 2})
    assert slow.post("skip", None) == recorded("api/post_skip")["body"]
    until(lambda: slow.get("progress")["state"]["job_no"] == 1)
    slow.post("interrupt", None)
    assert len(answer.result()["images"]) == 2


def test_stopping_nothing_does_nothing(service: Service) -> None:
    assert service.post("interrupt", {}) == {}
    assert service.post("skip", None) is None
    assert len(service.post("txt2img", LONG | {"steps": 3})["images"]) == 1


def test_tasks_by_name(serve: Serve, recorded: Callable[[str], Any]) -> None:
    service = serve("--max-jobs-in-flight", "1", step_seconds=0.01)

    def task(name: str, **more: Any) -> Any:
        return service.client.post("/internal/progress", json={"id_task": name, **more}).json()

    assert task("task(nope)") == recorded("page/internal_progress_unknown")["body"]
    first = begin(service, LONG | {"force_task_id": "task(first)"})
    second = threading.Thread(
        target=service.post, args=("txt2img", LONG | {"force_task_id": "task(second)", "steps": 1})
    )
    second.start()
    until(lambda: service.client.get("/internal/pending-tasks").json() == {"size": 1, "tasks": ["task(second)"]})
    assert task("task(second)")["textinfo"] == "In queue: 1/1"
    assert service.client.get("/queue/status").json()["queue_size"] == 1
    running = task("task(first)")
    assert (running["active"], running["queued"], running["completed"]) == (True, False, False)
    assert 0 < running["progress"] < 1
    assert until(lambda: task("task(first)")["live_preview"]).startswith("data:image/")
    service.post("interrupt", None)
    first.result()
    second.join()
    done = task("task(first)")
    assert (done["active"], done["completed"]) == (False, True)
