"""The names in a request's body, looked up: options, checkpoints, samplers, scripts; and what of it has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from easel.api.pai import KEYS, Additions
from easel.api.sdapi_models import Img2ImgBody, Txt2ImgBody
from easel.errors import BadRequest, UnknownName
from easel.models.store import CheckpointInfo
from easel.options import rules
from easel.values.request import GenerationRequest, Refiner, ScriptCall
from easel.values.result import ReportLine
from easel.values.sampling import find_sampler, find_scheduler

if TYPE_CHECKING:
    from easel.app import Easel

_SAME = ("use same sampler", "use same scheduler", "use same checkpoint", "none", "")
# A1111's own always-on entries that are no scripts here, and why they have no effect.
PLAIN_SCRIPTS = {
    **dict.fromkeys(("sampler", "seed", "refiner", "extra options", "comments"), "the request's own fields say this"),
    "hypertile": "it is not part of this service",
}

_MOST_UNKNOWN = 100  # fields; each is compared with all that are known


@dataclass(slots=True)
class Reading:
    """One body on its way to a request."""

    app: Easel
    body: Txt2ImgBody | Img2ImgBody
    report: list[ReportLine] = field(default_factory=list)

    def ignored(self, item: str, reason: str) -> None:
        """Note that a part of the body has no effect."""
        self.report.append(ReportLine(item=item, outcome="ignored", reason=reason))


def read_overrides(reading: Reading, additions: Additions) -> dict[str, Any]:
    """The checked `override_settings`, and the model and VAE of PAI's additions; nulls are as good as not sent.

    Errors: UnknownName, BadRequest (wrong values, two that contradict each other).
    """
    checked = {}
    for name, value in (reading.body.override_settings or {}).items():
        if value is None:
            continue
        rule = rules().get(name)
        if rule is not None and rule.fixed:
            reading.ignored(f"override_settings.{name}", "only the operator of this server can change it")
            continue
        where = f"override_settings.{name}" if rule else "override_settings"
        checked[name] = reading.app.options.check(name, value, field=where)
    for name in ("sd_model_checkpoint", "sd_vae"):
        if not (asked := additions.get(name)):
            continue
        where = f"alwayson_scripts.{name}"
        if checked.get(name) not in (None, asked):
            allowed = f"as override_settings.{name}, which says {checked[name]!r}"
            raise BadRequest("contradicts itself", field=where, value=asked, allowed=allowed)
        checked[name] = reading.app.options.check(name, asked, field=where)
    if not reading.body.override_settings_restore_afterwards:
        reading.ignored("override_settings_restore_afterwards", "options of one request never outlive it")
    return checked


def find_checkpoint(reading: Reading, wanted: str | None, where: str) -> CheckpointInfo:
    """The checkpoint that the field `where` wants, of the options, or the first there is.

    Errors: UnknownName, RefusedFile.
    """
    store = reading.app.store
    if wanted:
        return named_checkpoint(reading, wanted, where)
    chosen = reading.app.options.get("sd_model_checkpoint")
    if not chosen:
        return store.default_checkpoint()
    try:
        return store.checkpoint(chosen)
    except UnknownName:
        fallback = store.default_checkpoint()
        reason = f"the file of the option sd_model_checkpoint is gone; {fallback.title} was used instead"
        reading.ignored("sd_model_checkpoint", reason)
        return fallback


def named_checkpoint(reading: Reading, name: str, where: str) -> CheckpointInfo:
    """The checkpoint the field `where` names. Errors: UnknownName, RefusedFile."""
    try:
        return reading.app.store.checkpoint(name)
    except UnknownName:
        known = [info.title for info in reading.app.store.checkpoints()]
        raise UnknownName.among(where, name, known) from None


def read_sampler(reading: Reading) -> tuple[str, str]:
    """The sampler's name and its schedule's label. Errors: UnknownName."""
    body = reading.body
    where = "sampler_name" if body.sampler_name else "sampler_index"
    asked = body.sampler_name or body.sampler_index
    sampler, label = find_sampler(asked, known_scheduler(reading, "scheduler"), field=where)
    if not asked.startswith(sampler.name):
        reading.report.append(ReportLine(item=where, outcome="applied", reason=f"{asked!r} is {sampler.name!r}"))
    return sampler.name, label


def known_scheduler(reading: Reading, where: str) -> str | None:
    """A schedule's name as asked; an unknown one means Automatic, as A1111 has it."""
    name: str | None = getattr(reading.body, where)
    if asks_nothing(name):
        return None
    try:
        return find_scheduler(name, field=where).label
    except UnknownName as error:
        reading.ignored(where, f"Automatic was used: {error.message}")
        return None


def asks_nothing(name: str | None) -> bool:
    """Does this field of the hires pass or refiner ask for nothing of its own?"""
    return name is None or name.strip().lower() in _SAME


def read_refiner(reading: Reading) -> Refiner | None:
    """The refiner, where the request says which and when. Errors: UnknownName, RefusedFile."""
    body = reading.body
    if asks_nothing(body.refiner_checkpoint):
        return None
    if body.refiner_switch_at is None:
        reading.ignored("refiner_checkpoint", "there is no refiner_switch_at")
        return None
    checkpoint = named_checkpoint(reading, str(body.refiner_checkpoint), "refiner_checkpoint")
    return Refiner(checkpoint=checkpoint.title, switch_at=body.refiner_switch_at)


def read_always_on(reading: Reading) -> tuple[ScriptCall, ...]:
    """The always-on scripts the request mentions. Errors: BadRequest (arguments that are none)."""
    calls = []
    for name, value in reading.body.alwayson_scripts.items():
        if name.lower() in PLAIN_SCRIPTS:
            reading.ignored(f"alwayson_scripts.{name}", PLAIN_SCRIPTS[name.lower()])
            continue
        if isinstance(value, str):  # one of PAI's keys, misspelt?
            _refuse_unknown_script(reading.app, name)
        arguments = _arguments(reading, f"alwayson_scripts.{name}", value) if isinstance(value, dict) else value
        if arguments and not isinstance(arguments, dict | list):
            where = f"alwayson_scripts.{name}.args"
            raise BadRequest("wrong type", field=where, value=arguments, allowed="a list, or an object of names")
        calls.append(ScriptCall(name, arguments if isinstance(arguments, dict) else tuple(arguments or ())))
    return tuple(calls)


def _arguments(reading: Reading, where: str, entry: dict[str, Any]) -> Any:
    """The `args` of an entry, in any case of letters; arguments that stand there bare would be lost.

    Errors: BadRequest.
    """
    named = next((key for key in entry if key.lower() == "args"), None)
    for key in entry:
        if named is None:
            raise BadRequest("there is no `args`", field=where, value=key, allowed='{"args": …}')
        if key != named:
            reading.ignored(f"{where}.{key}", f"only `{named}` is read")
    return entry[named] if named is not None else None


def read_script(reading: Reading) -> ScriptCall | None:
    """The selectable script, if the request names one; arguments that it leaves to their defaults are told."""
    body, given = reading.body, reading.body.script_args
    if not body.script_name:
        return None
    owned = (one.script for one in reading.app.extensions.hooks.scripts.owned)
    script = next((one for one in owned if one.title.casefold() == body.script_name.casefold()), None)
    if script is not None and isinstance(given, list) and given and not script.variadic:
        names = list(script.arguments.model_fields)
        if left := names[len(given) :]:
            reason = f"{len(given)} of {len(names)} were sent; by default: {', '.join(left)}"
            reading.report.append(ReportLine(item="script_args", outcome="applied", reason=reason))
    return ScriptCall(body.script_name, given if isinstance(given, dict) else tuple(given))


def check_scripts(app: Easel, request: GenerationRequest) -> None:
    """Refuse scripts that are not there, in A1111's words, and wrong arguments, before the job is queued."""
    for call in (*request.always_on, *([request.script] if request.script else [])):
        _refuse_unknown_script(app, call.name)
    app.extensions.hooks.scripts.bind(request)


def _refuse_unknown_script(app: Easel, name: str) -> None:
    titles = sorted(owned.script.title for owned in app.extensions.hooks.scripts.owned)
    if name.lower() not in (title.lower() for title in titles):
        near = get_close_matches(name[:80], [*titles, *KEYS], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadRequest(f"Script '{name}' not found{hint}" + (f"; there are: {', '.join(titles)}" if titles else ""))


def report_unused(reading: Reading) -> None:
    """Note fields that have no effect here. Errors: BadRequest (too many of them)."""
    body, known = reading.body, list(type(reading.body).model_fields)
    unknown = [name for name in body.model_extra or {} if name not in ("strict", "seed_enable_extras")]
    if len(unknown) > _MOST_UNKNOWN:
        raise BadRequest(
            "too many unknown fields", field=unknown[0][:80], value=len(unknown), allowed=f"{_MOST_UNKNOWN}"
        )
    for name in unknown:
        near = get_close_matches(name[:80], known, n=1, cutoff=0.8)
        reading.ignored(name, "unknown field" + (f"; did you mean {near[0]}?" if near else ""))
    for name in ("firstpass_image", "latent_mask", "comments"):
        if getattr(body, name, None):
            reading.ignored(name, "it cannot be used through the API")
    for name, reason in _idle(body):
        value = getattr(body, name)
        nothing = value == type(body).model_fields[name].default or (isinstance(value, str) and asks_nothing(value))
        if name in body.model_fields_set and not nothing:
            reading.ignored(name, reason)
    for name in ("do_not_save_samples", "do_not_save_grid"):
        if getattr(body, name) and body.save_images:
            reading.ignored(name, "save_images decides alone")
        elif getattr(body, name):
            reading.report.append(ReportLine(item=name, outcome="applied", reason="nothing is saved anyway"))


def _idle(body: Txt2ImgBody | Img2ImgBody) -> Iterator[tuple[str, str]]:
    """Fields of this body that wait for another one, and for which."""
    if isinstance(body, Txt2ImgBody) and not body.enable_hr:
        hires = (name for name in type(body).model_fields if name.startswith(("hr_", "firstphase_")))
        yield from ((name, "enable_hr is off") for name in hires)
        yield "denoising_strength", "enable_hr is off"
    if isinstance(body, Img2ImgBody) and not body.mask:
        masks = (name for name in type(body).model_fields if name.startswith(("mask_", "inpaint")))
        yield from ((name, "there is no mask") for name in masks)
    if isinstance(body, Img2ImgBody) and body.mask_blur is not None:
        yield from ((name, "mask_blur was sent too") for name in ("mask_blur_x", "mask_blur_y") if body.mask)
    if asks_nothing(body.refiner_checkpoint):
        yield "refiner_switch_at", "there is no refiner_checkpoint"
    if not body.script_name:
        yield "script_args", "there is no script_name"
    if min(body.seed_resize_from_w, body.seed_resize_from_h) <= 0:
        sides = ("seed_resize_from_w", "seed_resize_from_h")
        yield from ((name, "both sides are needed") for name in sides if getattr(body, name) > 0)
