"""Two users at once: models, options, extensions, files, jobs and pages of one are nothing to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from .conftest import SMALL, Cluster, Person, Start


def weights(file: Path, **metadata: str) -> None:
    """A small file of weights, as no checkpoint needs them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": np.zeros((1, 768), np.float32)}, file, metadata=metadata)


def names(person: Person, route: str, key: str) -> list[str]:
    shipped = ("flat", "starter_vivid.safetensors", "easel-lime")
    return [one[key] for one in person.get(f"/sdapi/v1/{route}") if one[key] not in shipped]


def info_of(answer: Any) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(answer["info"])
    return info


def test_models_are_ones_own_and_the_public_ones_by_the_flags(start: Start, tmp_path: Path) -> None:
    public = {kind: tmp_path / kind for kind in ("lora", "vae", "embeddings")}
    for kind, folder in public.items():
        weights(folder / f"public-{kind}.safetensors")
    data = tmp_path / "data"
    weights(data / "models/Lora/nobodys.safetensors")  # the data folder's own LoRAs are not public without a flag
    weights(data / "models/hypernetworks/nobodys.safetensors")
    weights(data / "models/ControlNet/shared.safetensors")
    cluster = start(
        *("--lora-dir", str(public["lora"]), "--vae-dir", str(public["vae"])),
        *("--embeddings-dir", str(public["embeddings"])),
        data=data,
    )
    ann, bob = cluster.person("ann"), cluster.person("bob")
    for person in (ann, bob):
        home = cluster.home(person)
        for folder in ("models/Lora", "models/VAE", "embeddings", "models/hypernetworks", "models/ControlNet"):
            weights(home / folder / f"{person.name}s.safetensors", ss_output_name=f"{person.name}-alias")
    assert names(ann, "loras", "name") == ["anns", "public-lora"]  # both
    assert names(bob, "loras", "name") == ["bobs", "public-lora"]
    assert names(ann, "sd-vae", "model_name") == ["public-vae.safetensors"]  # the flag's alone
    loaded = ann.get("/sdapi/v1/embeddings")["loaded"]
    assert "public-embeddings" in loaded and "anns" not in loaded
    assert names(ann, "hypernetworks", "name") == ["anns"]  # no flag: ann's alone
    listed = ann.get("/controlnet/model_list")["model_list"]
    assert any("shared" in one for one in listed) and any("anns" in one for one in listed)
    assert not any("bobs" in one for one in listed)
    (own,) = [one for one in ann.get("/sdapi/v1/loras") if one["name"] == "anns"]
    assert own["path"] == "models/Lora/anns.safetensors"  # from ann's folder on
    used = info_of(ann.picture("a cat <lora:anns:1> <lora:public-lora:1>"))["easel"]
    assert not used["warnings"], used
    used = info_of(bob.picture("a cat <lora:anns:1>"))["easel"]
    assert any("anns" in one for one in used["warnings"])


def test_options_and_styles_are_ones_own(cluster: Cluster, ann: Person, bob: Person) -> None:
    ann.post("/sdapi/v1/options", samples_format="webp", localization="zh_CN")
    assert ann.get("/sdapi/v1/options")["samples_format"] == "webp"
    assert bob.get("/sdapi/v1/options")["samples_format"] == "png"
    (cluster.home(ann) / "styles.csv").write_text("name,prompt,negative_prompt\nanns style,oil,\n")
    assert names(ann, "prompt-styles", "name") == ["anns style"] and names(bob, "prompt-styles", "name") == []
    refused = ann.http.post("/sdapi/v1/options", json={"disable_all_extensions": "all"})
    assert refused.status_code == 403


def test_the_same_name_means_ones_own_job(ann: Person, bob: Person) -> None:
    ann.picture("anns", force_task_id="one")
    bob.picture("bobs", force_task_id="one")
    assert ann.post("/internal/progress", id_task="one")["completed"]
    (job,) = [one for one in ann.get("/easel/v1/jobs") if one["id_task"] == "one"]
    assert bob.http.get(f"/easel/v1/jobs/{job['id']}").status_code == 404
    assert ann.get("/easel/v1/jobs/one")["id"] == job["id"]


def test_only_ones_own_jobs_are_seen_and_stopped(ann: Person, bob: Person) -> None:
    later = {"Prefer": "respond-async"}
    began = ann.http.post("/sdapi/v1/txt2img", json={"prompt": "anns", "steps": 200}, headers=later).json()
    while ann.get(f"/{began['url']}")["step"] == 0:
        pass
    assert bob.get("/sdapi/v1/progress")["state"]["job_count"] == 0
    bob.post("/sdapi/v1/interrupt")
    bob.post("/sdapi/v1/skip")
    assert bob.http.post(f"/{began['url']}/cancel").status_code == 404
    assert ann.get("/sdapi/v1/progress")["state"]["sampling_steps"] == 200
    assert ann.get(f"/{began['url']}")["state"] == "running"
    ann.post("/sdapi/v1/interrupt")
    while ann.get(f"/{began['url']}")["state"] == "running":
        pass
    assert ann.get(f"/{began['url']}")["interrupted"]


def test_a_busy_user_does_not_hold_up_others(ann: Person, bob: Person) -> None:
    later = {"Prefer": "respond-async"}
    for _ in range(6):
        ann.http.post("/sdapi/v1/txt2img", json={"prompt": "anns", "steps": 300}, headers=later)
    bob.picture("at once")  # one of the two places in the engine is left to others
    mine = [one for one in ann.get("/easel/v1/jobs") if one["state"] in ("queued", "running")]
    assert len(mine) == 6 and sum(one["state"] == "running" for one in mine) == 1
    assert bob.get("/internal/pending-tasks")["size"] == 0
    for one in mine:
        ann.post(f"/easel/v1/jobs/{one['id']}/cancel")


def test_pictures_stay_in_ones_folder(cluster: Cluster, ann: Person, bob: Person) -> None:
    ann.picture("a picture")
    (job, *_) = [one for one in ann.get("/easel/v1/jobs") if one["kind"] == "txt2img"]
    path = ann.get(f"/easel/v1/jobs/{job['id']}")["images"][0]["path"]
    assert (cluster.home(ann) / path).is_file() and ann.http.get(f"/file={path}").status_code == 200
    absolute = cluster.home(ann) / path
    for asked in (path, absolute, f"users/ann/{path}", f"../ann/{path}", f"{cluster.home(bob)}/../ann/{path}"):
        answer = bob.http.get(f"/file={asked}")
        assert answer.status_code in (403, 404), asked
    for folder in (str(cluster.home(ann)), "../ann", "/tmp", "users/ann"):
        body = {**SMALL, "prompt": "x", "alwayson_scripts": {"save_dir": folder}}
        answer = bob.http.post("/sdapi/v1/txt2img", json=body)
        assert answer.status_code == 403 or folder == "users/ann", folder  # below bob's own folder it is just a name
    assert bob.http.get("/filebrowser/api/list", params={"path": "outputs"}).status_code == 200
    assert bob.http.get("/filebrowser/api/list", params={"path": "../ann/outputs"}).status_code == 403


def test_each_user_has_their_own_extensions(cluster: Cluster, ann: Person, bob: Person) -> None:
    def titles(person: Person) -> list[str]:
        found: list[str] = person.get("/sdapi/v1/scripts")["txt2img"]
        return found

    assert ann.post("/easel/v1/extensions/xyz-plot/disable")["state"] == "disabled"
    assert "x/y/z plot" not in titles(ann) and "x/y/z plot" in titles(bob)
    assert ann.get("/sdapi/v1/options")["disabled_extensions"] == ["xyz-plot"]
    assert bob.get("/sdapi/v1/options")["disabled_extensions"] == []
    ann.post("/sdapi/v1/options", disabled_extensions=["wildcards", "upscale"])
    assert "x/y/z plot" in titles(ann)
    assert info_of(ann.picture("{a|b}"))["prompt"] == "{a|b}"  # not drawn
    assert info_of(bob.picture("{a|b}"))["prompt"] in ("a", "b")
    assert ann.http.get("/sdapi/v1/face-restorers").status_code == 404  # its routes are gone with it
    assert bob.http.get("/sdapi/v1/face-restorers").status_code == 200
    ann.post("/sdapi/v1/options", disabled_extensions=[])


def test_a_shared_set_is_everybodys(start: Start) -> None:
    cluster = start("--root-extensions", "--nowebui")
    ann = cluster.person("ann")
    refused = ann.http.post("/easel/v1/extensions/xyz-plot/disable")
    assert refused.status_code == 403 and "--root-extensions" in refused.json()["detail"]
    assert ann.http.post("/sdapi/v1/options", json={"disabled_extensions": ["lora"]}).status_code == 403


def test_limits_are_named(cluster: Cluster) -> None:
    from easel.users.account import Limits

    cat, accounts = cluster.person("cat"), cluster.accounts()
    try:
        accounts.limit("cat", Limits(jobs_hour=2, work_day=1))
        too_much = cat.http.post("/sdapi/v1/txt2img", json={"width": 1024, "height": 1024, "steps": 20})
        assert too_much.status_code == 413 and "work_day" in too_much.json()["detail"]
        cat.picture("one")
        cat.picture("two")
        third = cat.http.post("/sdapi/v1/txt2img", json=SMALL)
        assert third.status_code == 429 and "jobs_hour: 2" in third.json()["detail"]
        accounts.limit("cat", Limits(storage_mb=1))
        (cluster.home(cat) / "large.bin").write_bytes(b"x" * (1 << 20))
        full = cat.http.post("/sdapi/v1/txt2img", json=SMALL)
        assert full.status_code == 507 and "storage_mb" in full.json()["detail"]
        assert cat.http.post("/sdapi/v1/txt2img", json={**SMALL, "save_images": False}).status_code == 200
    finally:
        accounts.close()


def page_of(person: Person) -> str:
    """Where somebody's page lives."""
    page = person.http.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200, page.text
    root = page.text.partition('"root":"')[2].partition('"')[0]
    return "/page/" + root.partition("/page/")[2]


def test_styles_that_a_page_saves_are_ones_own(ann: Person, bob: Person) -> None:
    page = page_of(ann)
    listeners = ann.get(f"{page}/config")["dependencies"]
    save = next(one["id"] for one in listeners if one["api_name"] == "keep")
    ann.post(f"{page}/gradio_api/queue/join", fn_index=save, session_hash="s", data=["oil", "", ["anns style"]])
    with ann.http.stream("GET", f"{page}/gradio_api/queue/data", params={"session_hash": "s"}) as events:
        assert any('"success":true' in line for line in events.iter_lines())
    assert names(ann, "prompt-styles", "name") == ["anns style"] and names(bob, "prompt-styles", "name") == []


def test_a_page_and_its_files_are_ones_own(ann: Person, bob: Person) -> None:
    ann.post("/sdapi/v1/options", localization="zh_CN")
    theirs, mine = page_of(ann), page_of(bob)
    assert theirs != mine
    assert "文生图" in ann.http.get(f"{theirs}/config").text  # ann's language
    assert "文生图" not in bob.http.get(f"{mine}/config").text
    for path in ("/", "/config", "/gradio_api/queue/data?session_hash=x", "/gradio_api/heartbeat/x"):
        assert bob.http.get(theirs + path).status_code == 404, path
    sent = ann.http.post(f"{theirs}/gradio_api/upload", files={"files": ("a.png", b"anns bytes")}).json()[0]
    assert ann.http.get(f"{theirs}/gradio_api/file={sent}").content == b"anns bytes"
    assert bob.http.get(f"{mine}/gradio_api/file={sent}").status_code == 403
    event = {"fn_index": 0, "session_hash": "b", "data": [{"path": sent, "meta": {"_type": "gradio.FileData"}}]}
    assert bob.http.post(f"{mine}/gradio_api/run/predict", json=event).status_code == 403


def test_what_the_page_was_given_counts_as_storage(cluster: Cluster) -> None:
    from easel.users.account import Limits

    dan, accounts = cluster.person("dan"), cluster.accounts()
    try:
        accounts.limit("dan", Limits(storage_mb=1))
        page = page_of(dan)
        half = {"files": ("a.png", b"x" * (600 << 10))}
        assert dan.http.post(f"{page}/gradio_api/upload", files=half).status_code == 200
        full = dan.http.post(f"{page}/gradio_api/upload", files=half)
        assert full.status_code == 507 and "storage_mb" in full.json()["detail"]
    finally:
        accounts.close()
