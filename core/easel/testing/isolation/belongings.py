"""What each of the two users has: jobs, pictures, models, texts, uploads.

They have names, which others may learn or guess, and secrets inside, which nobody else may ever see.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from easel.options import rules

SLOW = "slowly"  # in a prompt: the proving engine takes its time with it
_SMALL = {"steps": 2, "width": 64, "height": 64, "save_images": True}
_INLINE = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")
_ALIKE = 0.97  # correlation of two small pictures from which on they are one


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """A user of the service, with a client that speaks for them."""

    name: str
    token: str
    http: httpx.Client
    home: Path  # their folder
    kept: tuple[Path, ...]  # other folders that hold what is theirs


@dataclass(slots=True, repr=False)
class Belongings:
    """What one user has. `handles` by kind: what others might call it by. `texts`: what is in it. `shared`: names of
    what everybody has, and each in their own way."""

    owner: Person
    shared: tuple[str, ...] = ()
    handles: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    _small: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All that a stranger tries."""
        return [*self.handles.values(), *self.shared]

    def seen_in(self, body: bytes, sent: str) -> Iterator[str]:
        """What of it an answer shows, in words; what the caller has sent themselves tells them nothing."""
        for what, text in {**self.texts, **self.handles}.items():
            if text in sent:
                continue
            spellings = {
                text.encode(),
                json.dumps(text)[1:-1].encode(),
                base64.b64encode(text.encode()).rstrip(b"=")[:-1],
            }
            if any(one in body for one in spellings):
                yield f"{what} ({text[:60]})"
        for data in self.pictures:
            if data in body or base64.b64encode(data) in body:
                yield "a picture, byte by byte"
        for found in _pictures_in(body):
            if any(float((found * mine).mean()) > _ALIKE for mine in self._small):
                yield "a picture, made anew"

    def keep_picture(self, data: bytes) -> None:
        """One more."""
        self.pictures.append(data)
        self._small += [] if (small := _small(data)) is None else [small]

    def remember(self, former: Belongings) -> None:
        """What was theirs before they were given anew is theirs still, and nobody else's to see."""
        held = former.texts | former.handles
        self.texts |= {f"{what}, formerly": text for what, text in held.items() if text not in self.handles.values()}
        self.pictures += former.pictures
        self._small += former._small

    def state(self) -> str:
        """Everything that nobody else may change, in one digest."""
        http, told = self.owner.http, []
        for job in self.jobs:
            one = http.get(f"/easel/v1/jobs/{job}").json()
            told.append([one.get("id"), one.get("state"), one.get("interrupted")])
        for path in ("/sdapi/v1/options", "/sdapi/v1/scripts", "/sdapi/v1/prompt-styles", "/user"):
            told.append(http.get(path).json())
        told.append([[one["name"], one["state"]] for one in http.get("/sdapi/v1/extensions").json()])
        for folder in (self.owner.home, *self.owner.kept):
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            told.append([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def give(person: Person, page: str = "") -> Belongings:
    """Let a user have one of everything, through the front door where there is one. `page`: where their page lives."""
    mine = Belongings(person, shared=(_extension(person),))

    def handle(kind: str) -> str:
        return mine.handles.setdefault(kind, _secret(f"{person.name}-{kind}"))

    for kind, folder in {"lora": "models/Lora", "checkpoint": "models/Stable-diffusion", "vae": "models/VAE"}.items():
        text = mine.texts[f"what is in the {kind}"] = _secret("metadata")
        _weights(person.home / folder / f"{handle(kind)}.safetensors", text)
    mine.texts["a style"] = _secret("style")
    (person.home / "styles.csv").write_text(
        f"name,prompt,negative_prompt\n{handle('style')},{mine.texts['a style']},\n"
    )
    mine.texts["a wildcard"] = _secret("wildcard")
    (person.home / "wildcards").mkdir(exist_ok=True)
    (person.home / "wildcards" / f"{handle('wildcard')}.txt").write_text(mine.texts["a wildcard"])
    option, mine.texts["an option"] = _free_option(), _secret("option")
    _sent(person, "/sdapi/v1/options", {option: mine.texts["an option"]})
    slow = ("the prompt of a running job", "the prompt of another one", "the prompt of a waiting job")
    prompts = {"a prompt": "", **dict.fromkeys(slow, SLOW)}
    for number, (what, more) in enumerate(prompts.items()):
        mine.texts[what] = _secret("prompt")
        body = {**_SMALL, "prompt": f"{mine.texts[what]} {more}", "force_task_id": handle(f"task{number}")}
        body |= {"steps": 1000, "override_settings": {"show_progress_every_n_steps": 1}} if more else {}
        began = _sent(person, "/sdapi/v1/txt2img", body, Prefer="respond-async")
        mine.jobs.append(began["id"])
        mine.handles[f"job{number}"] = began["id"]
        if not more:
            _finished(person, began["id"])
    for one in person.http.get(f"/easel/v1/jobs/{mine.jobs[0]}").json()["images"]:
        mine.keep_picture(person.http.get(f"/{one['url']}").content)
        mine.handles |= {
            "picture": str(person.home / one["path"]),
            "picture below": f"users/{person.name}/{one['path']}",
        }
    mine.texts["a file"] = _secret("file")
    (person.home / f"{handle('file')}.txt").write_text(mine.texts["a file"])
    mine.handles["file's path"] = str(person.home / f"{mine.handles['file']}.txt")
    if page:
        mine.texts["an upload"] = _secret("upload")
        sent = person.http.post(
            f"{page}/gradio_api/upload", files={"files": ("a.txt", mine.texts["an upload"].encode())}
        )
        mine.handles |= {"upload": sent.json()[0], "page": page.rpartition("/")[2]}
    return mine


def _extension(person: Person) -> str:
    """The first that is on."""
    listed = person.http.get("/sdapi/v1/extensions").json()
    return next((str(one["name"]) for one in listed if one["enabled"]), "none")


def take_back(mine: Belongings) -> None:
    """End their jobs."""
    for job in mine.jobs:
        mine.owner.http.post(f"/easel/v1/jobs/{job}/cancel")


def _secret(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(6)}"


def _finished(person: Person, job: str) -> None:
    with person.http.stream("GET", f"/easel/v1/jobs/{job}/events") as events:
        for _ in events.iter_lines():
            pass


def _sent(person: Person, path: str, body: Mapping[str, Any], **headers: str) -> Any:
    answer = person.http.post(path, json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()


def _free_option() -> str:
    """An option that takes any text."""
    plain = (n for n, rule in rules().items() if isinstance(rule.default, str) and not rule.fixed)
    return next(n for n in plain if not (rules()[n].choices or rules()[n].pattern) and n.startswith("extra_networks"))


def _weights(file: Path, secret: str) -> None:
    """The smallest safetensors file: one number, and what its trainer says."""
    head = {"__metadata__": {"said": secret}, "one": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    told = json.dumps(head).encode()
    file.write_bytes(struct.pack("<Q", len(told)) + told + bytes(4))


def _pictures_in(body: bytes) -> Iterator[NDArray[np.float64]]:
    for data in (body, *(base64.b64decode(found + b"==") for found in _INLINE.findall(body))):
        if data[:4] in (b"\x89PNG", b"RIFF") or data[:2] == b"\xff\xd8":
            small = _small(data)
            if small is not None:
                yield small


def _small(data: bytes) -> NDArray[np.float64] | None:
    """8 x 8 pixels whose mean is 0 and whose variance is 1; None for what is no picture, or all grey."""
    try:
        pixels = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB").resize((8, 8)), np.float64)
    except (OSError, ValueError):
        return None
    spread = float(pixels.std())
    return (pixels - pixels.mean()) / spread if spread > 1 else None
