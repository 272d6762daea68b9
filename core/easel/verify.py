"""Verifying a picture: read its receipt, say what is different here, make it again, compare every pixel."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from easel.app import Easel
from easel.errors import BadRequest, EaselError
from easel.imaging.decode import open_picture
from easel.limits import check_request
from easel.models.store import FOLDERS, Kind, ModelFile
from easel.one_shot import watched
from easel.options import rules
from easel.settings import Settings
from easel.values.receipt import CHUNK, Receipt, as_request, inputs, read_receipt
from easel.values.request import GenerationRequest, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What verifying came to. `verdict` is "bit-exact", "within", "differs" or "prevented"."""

    verdict: str
    status: int  # what the command exits with
    differences: tuple[str, ...] = ()  # between there and here, in words
    prevented_by: tuple[str, ...] = ()
    most: int = 0  # grey levels
    mean: float = 0.0

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def verify(settings: Settings, data: bytes, pictures: Sequence[bytes] = (), tolerance: int = 0) -> Finding:
    """Make the picture in `data` again with this machine's models; `pictures` are those it was made from.

    Errors: BadRequest (no receipt, none that can be read), BadImage.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    picture = open_picture(data, field="PICTURE", max_pixels=settings.max_input_pixels)
    text = picture.info.get(CHUNK)
    if not isinstance(text, str):
        raise BadRequest("there is no receipt in this picture", field="PICTURE", value="", allowed="a PNG of Easel's")
    try:
        receipt, kind, number = read_receipt(text)
    except (ValueError, TypeError, KeyError) as error:
        raise BadRequest("its receipt cannot be read", field="PICTURE", value="") from error
    known = {hashlib.sha256(one).hexdigest(): one for one in pictures}
    app = Easel(settings)
    app.start()
    try:
        reasons = [*_missing_inputs(receipt, known), *_missing_weights(app, receipt), *_missing_code(app, receipt)]
        if reasons:
            return Finding(verdict="prevented", status=2, prevented_by=tuple(reasons))
        try:
            result = watched(app, app.jobs.submit(_request(app, receipt, known, kind)))
        except (EaselError, ValueError) as error:
            why = error.message if isinstance(error, EaselError) else "its request cannot be read"
            return Finding(verdict="prevented", status=2, prevented_by=(why,))
    finally:
        app.stop()
    differences = tuple(_differences(receipt, result.receipt)) if result.receipt else ()
    made = [one for one in result.images if one.kind == kind]
    if number >= len(made):
        return Finding(verdict="prevented", status=2, differences=differences, prevented_by=("no such picture came",))
    again = open_picture(made[number].data)
    if again.size != picture.size:
        reason = f"it has {picture.width}x{picture.height} pixels, and {again.width}x{again.height} made here"
        return Finding(verdict="differs", status=1, differences=(*differences, reason), most=255, mean=255.0)
    apart = np.abs(np.asarray(picture.convert("RGB"), np.int16) - np.asarray(again.convert("RGB"), np.int16))
    most, mean = int(apart.max()), round(float(apart.mean()), 4)
    within = most <= tolerance
    verdict = "bit-exact" if not most else "within" if within else "differs"
    return Finding(verdict=verdict, status=int(not within), differences=differences, most=most, mean=mean)


def in_words(found: Finding) -> Iterator[str]:
    """The lines that a person reads."""
    yield from (f"here      {one}" for one in found.differences)
    yield from (f"prevented {one}" for one in found.prevented_by)
    apart = f"within {found.most} grey levels (mean {found.mean:g})"
    words = {"bit-exact": "bit-exact", "within": apart, "prevented": "cannot be made again here"}
    yield words.get(found.verdict, f"another picture: {apart}")


def _request(app: Easel, receipt: Receipt, known: Mapping[str, bytes], kind: str) -> GenerationRequest:
    """What to run: nothing of it is saved, and PNGs lose nothing. Errors: BadRequest and its kinds, ValueError."""
    request = as_request(receipt.request, known)
    if request.task is not None or request.explain:
        raise BadRequest("its receipt is of no picture")
    told = receipt.request.get("options", {})
    options = {name: app.options.check(name, value) for name, value in told.items() if name in rules()}
    quiet: dict[str, Any] = {"samples_save": False, "grid_save": False, "samples_format": "png", "grid_format": "png"}
    request = replace(
        request,
        options=replace(request.options, **options, **quiet, live_previews_enable=False),
        output=Output(save=kind == "grid"),
        extensions=tuple(one.name for one in receipt.extensions),
    )
    check_request(request, app.settings)
    return request


def _missing_inputs(receipt: Receipt, known: Mapping[str, bytes]) -> Iterator[str]:
    if receipt.cut_short:
        yield "the job was interrupted or skipped: how far it got is not told"
    for where, digest in inputs(receipt.request):
        if digest not in known:
            yield f"input missing: {where} (sha256 {digest[:12]}…) is not in the picture; give it with --init FILE"


def _missing_weights(app: Easel, receipt: Receipt) -> Iterator[str]:
    """Weights that are not here under their name, or are others, as far as their hashes are known."""
    for one in receipt.weights:
        if one.kind not in FOLDERS:
            continue  # an extension's: compared after the run
        files = (*app.store.files(cast(Kind, one.kind)), *([app.store.starter()] if one.kind == "checkpoint" else ()))
        same_name = [file for file in files if one.name in _names(file)]
        if not same_name:
            yield f"missing: {one.kind} {one.name} (sha256 {one.sha256[:12] or 'unknown'})"
        elif one.sha256 and not any(app.store.digest(file.path) in ("", one.sha256) for file in same_name):
            here = app.store.digest(same_name[0].path)
            yield f"other weights: {one.kind} {one.name} has sha256 {here[:12]} here, {one.sha256[:12]} there"


def _names(file: ModelFile) -> tuple[str, ...]:
    return file.filename, file.name, file.name.rpartition("/")[2], file.path.name, file.alias


def _missing_code(app: Easel, receipt: Receipt) -> Iterator[str]:
    """Scripts that are named and belong to no extension that is on."""
    calls = (receipt.request.get("script"), *receipt.request.get("always_on", ()))
    titles = {owned.script.title.casefold() for owned in app.extensions.hooks.scripts.owned}
    for call in calls:
        if call and str(call.get("name")).casefold() not in titles:
            yield f"missing: no extension that is on has the script {call.get('name')!r}"


def _differences(there: Receipt, here: Receipt) -> Iterator[str]:
    """In words, what is not the same."""
    if there.easel != here.easel:
        yield f"easel {here.easel}, there {there.easel}"
    for title, before, now in (
        ("", there.libraries, here.libraries),
        ("", there.machine, here.machine),
        ("noise rule ", there.noise, here.noise),
    ):
        yield from _unlike(title, before, now)
    codes = {one.name: one for one in here.extensions}
    for one in there.extensions:
        now_on = codes.get(one.name)
        if now_on is None:
            yield f"extension {one.name} is not on"
            continue
        if one.sha256 != now_on.sha256:
            yield f"extension {one.name} {now_on.version} has other code than {one.version} there"
        yield from _unlike(f"extension {one.name}: ", one.settings, now_on.settings, "the default")
    weights = {(one.kind, one.name): one.sha256 for one in here.weights}
    for used in there.weights:
        found = weights.get((used.kind, used.name))
        if found is None:
            yield f"{used.kind} {used.name} was not used"
        elif found != used.sha256:
            yield f"{used.kind} {used.name}: sha256 {found[:12] or 'unknown'}, there {used.sha256[:12] or 'unknown'}"


def _unlike(title: str, before: Mapping[str, Any], now: Mapping[str, Any], unset: str = "none") -> Iterator[str]:
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            yield f"{title}{name} {now.get(name, unset)}, there {before.get(name, unset)}"
