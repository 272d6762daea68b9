"""`/easel/v1/jobs`: jobs by id, events, pictures; submissions that do not wait, or that count once."""

from __future__ import annotations

import base64
import json
from typing import Any

from .conftest import Serve, Service, opened
from .test_progress import begin, until

SMALL = {"prompt": "a dog", "steps": 4, "width": 64, "height": 64, "seed": 7, "subseed": 1}
LONG = SMALL | {"steps": 1000}


def submit(service: Service, body: dict[str, Any], **headers: str) -> str:
    answer = service.client.post("/sdapi/v1/txt2img", json=body, headers={"Prefer": "respond-async"} | headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    identity: str = answer.json()["id"]
    assert answer.headers["location"] == f"/easel/v1/jobs/{identity}"
    return identity


def job(service: Service, identity: str) -> Any:
    answer = service.client.get(f"/easel/v1/jobs/{identity}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def finished(service: Service, identity: str) -> Any:
    return until(lambda: (found := job(service, identity))["state"] not in ("queued", "running") and found)


def test_a_job_from_its_submission_to_its_picture(service: Service) -> None:
    identity = submit(service, SMALL | {"force_task_id": "mine", "prompt": "a dog<lorra:x>", "stepps": 5})
    found = finished(service, identity)
    assert (found["state"], found["progress"], found["id_task"]) == ("done", 1.0, "mine")
    assert job(service, "mine") == found and found["info"]["all_seeds"] == [7]
    (line,) = (one for one in found["report"] if "lorra" in one["item"])
    assert (line["item"], line["outcome"]) == ("<lorra:x>", "ignored")
    (line,) = (one for one in found["report"] if one["item"] == "stepps")
    assert line["outcome"] == "ignored" and "did you mean steps" in line["reason"]
    (image,) = found["images"]
    answer = service.client.get("/" + image["url"])
    assert answer.headers["content-type"] == "image/png"
    assert opened(base64.b64encode(answer.content).decode()).size == (64, 64)
    assert service.client.get(f"/easel/v1/jobs/{identity}/images/1").status_code == 404
    assert identity in [one["id"] for one in service.client.get("/easel/v1/jobs").json()]


def test_what_does_not_exist(service: Service) -> None:
    for answer in (
        service.client.get("/easel/v1/jobs/none"),
        service.client.get("/easel/v1/jobs/none/events"),
        service.client.post("/easel/v1/jobs/none/cancel"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such job")
    assert service.client.post("/easel/v1/jobs/none/explode").status_code == 422


def test_events_until_the_end(serve: Serve) -> None:
    service = serve(step_seconds=0.01)
    identity = submit(service, SMALL | {"steps": 60})
    with service.client.stream("GET", f"/easel/v1/jobs/{identity}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    events = [block.split("\n") for block in text.strip().split("\n\n") if block.startswith("event")]
    told = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert [name for name, _ in events] == ["event: progress"] * (len(events) - 1) + ["event: end"]
    steps = [one["step"] for one in told[:-1] if one["stage"] == "first"]
    assert steps == sorted(steps) and len(steps) > 3
    assert any(one.get("preview", "").startswith("data:image/") for one in told)
    assert told[-1]["state"] == "done" and told[-1]["info"]["seed"] == 7


def test_cancelling_a_waiting_and_a_running_job(serve: Serve) -> None:
    service = serve("--max-jobs-in-flight", "1", step_seconds=0.01)
    running = submit(service, LONG)
    until(lambda: job(service, running)["state"] == "running")
    waiting = submit(service, LONG)
    assert (job(service, waiting)["state"], job(service, waiting)["position"]) == ("queued", 1)
    for identity in (waiting, running):
        assert service.client.post(f"/easel/v1/jobs/{identity}/cancel").status_code == 200
        ended = finished(service, identity)
        assert (ended["state"], ended["error"]["status"]) == ("cancelled", 21)


def test_an_interrupted_job_has_its_picture(serve: Serve) -> None:
    service = serve(step_seconds=0.01)
    answer = begin(service, LONG | {"force_task_id": "mine"})
    service.client.post("/easel/v1/jobs/mine/interrupt")
    assert len(answer.result(20)["images"]) == 1 and job(service, "mine")["interrupted"] is True


def test_a_key_makes_a_call_count_once(service: Service) -> None:
    random = SMALL | {"seed": -1}
    first, again = (
        service.client.post("/sdapi/v1/txt2img", json=random, headers={"Idempotency-Key": "k1"}) for _ in range(2)
    )
    assert first.json()["images"] == again.json()["images"]
    job_of = [json.loads(one.json()["info"])["easel"]["job"] for one in (first, again)]
    assert job_of[0] == job_of[1]
    other = service.client.post("/sdapi/v1/txt2img", json=SMALL, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422 and "Idempotency-Key: was used for another request" in other.json()["detail"]
    long = service.client.post("/sdapi/v1/txt2img", json=SMALL, headers={"Idempotency-Key": "k" * 256})
    assert long.status_code == 422
