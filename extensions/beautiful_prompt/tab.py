"""The tab of the page: a few words in, detailed prompts out, and on to txt2img or img2img. Nothing runs by itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import gradio as gr

from easel import BadRequest, EaselError

from .arguments import ToExpand

if TYPE_CHECKING:
    from . import BeautifulPrompt

_SEEDS = 2**32
Shown = tuple[Any, str, str, str]  # the candidates to choose from, the chosen one and its negative prompt, a remark


def build(extension: BeautifulPrompt, app: Any, page: Any) -> None:
    """Make the components."""
    text = page.text
    models = list(extension.models().values())
    usable = [one for one in models if not one.missing]
    with gr.Row():
        with gr.Column():
            words = gr.Textbox(
                label=text("Simple prompt"), placeholder=text("a few words, e.g. a cat in the garden"), lines=3,
                elem_id="beautiful_prompt_words",
            )  # fmt: skip
            model = gr.Dropdown(
                [(_named(one, text), one.name) for one in models],
                value=extension.find("").name if usable else None,
                label=text("Model"),
                elem_id="beautiful_prompt_model",
            )
            missing = gr.Markdown(elem_id="beautiful_prompt_missing")
            candidates = gr.Slider(1, 8, 3, step=1, label=text("Candidates"))
            with gr.Accordion(text("Options"), open=False):
                gr.Markdown(text("Empty: as the model has it."))
                options = {
                    name: gr.Number(None, label=text(label), info=text(_about(name)) or None)
                    for name, label in _OPTIONS.items()
                }
                seed = gr.Number(-1, precision=0, label=text("Seed"), info=text("of the first candidate; -1: any"))
            button = gr.Button(text("Generate"), variant="primary", elem_id="beautiful_prompt_generate")
        with gr.Column():
            choice = gr.Radio(label=text("Candidates"), visible=False, elem_id="beautiful_prompt_candidates")
            prompt = gr.Textbox(
                label=text("Detailed prompt"), lines=6, interactive=True, elem_id="beautiful_prompt_prompt"
            )
            negative = gr.Textbox(label=text("Negative prompt"), lines=2, interactive=True)
            told = gr.Markdown()
            with gr.Row():
                to_txt2img = gr.Button(text("to txt2img"), elem_id="beautiful_prompt_to_txt2img")
                to_img2img = gr.Button(text("to img2img"), elem_id="beautiful_prompt_to_img2img")
    written = gr.State([])

    async def generate(
        request: gr.Request, words: str, model: str | None, candidates: float, seed: float, *given: float | None
    ) -> tuple[Any, ...]:
        try:
            arguments = _arguments(words, model, candidates, seed, dict(zip(options, given, strict=True)))
            extension.find(arguments["model"])
            result = await app.run_task(extension.name, "expand", arguments, user=page.user(request).name)
        except EaselError as error:
            raise gr.Error(error.message, print_exception=False) from None
        found = [(one["prompt"], one["negative_prompt"]) for one in result.info["candidates"]]
        numbered = [(each[0], number) for number, each in enumerate(found)]
        remark = f"{result.info['model']} · {text('Seed')} {arguments['seed']}"
        shown = gr.Radio(numbered, value=0, visible=len(found) > 1)
        return (found, shown, *found[0], remark)

    inputs = [words, model, candidates, seed, *options.values()]
    outputs = [written, choice, prompt, negative, told]
    gr.on([button.click, words.submit], generate, inputs, outputs, concurrency_limit=None)
    choice.input(_chosen, [written, choice], [prompt, negative], show_progress="hidden")
    model.change(
        lambda name: next((one.missing for one in extension.models().values() if one.name == name), ""),
        model,
        missing,
        show_progress="hidden",
    )
    for one, place in ((to_txt2img, "txt2img"), (to_img2img, "img2img")):
        page.send(one, to=place, fill=["prompt", "negative_prompt"], inputs=[prompt, negative], fn=_sent)


_OPTIONS = {
    "temperature": "Temperature",
    "top_k": "Top k",
    "top_p": "Top p",
    "repetition_penalty": "Repetition penalty",
    "max_new_tokens": "Length of the answer in tokens",
}


def _about(name: str) -> str:
    return ToExpand.model_fields[name].description or ""


def _named(model: Any, text: Any) -> str:
    return " · ".join(
        part for part in (model.name, text(model.about), text("missing") if model.missing else "") if part
    )


def _arguments(
    words: str, model: str | None, candidates: float, seed: float, options: dict[str, float | None]
) -> dict[str, Any]:
    """Errors: BadRequest for no words; what else is wrong, the task says."""
    if not words.strip():
        raise BadRequest("is empty", field="prompt", value=words, allowed="a few words")
    return {
        "prompt": words,
        "model": model or "",
        "candidates": int(candidates),
        "seed": random.randrange(_SEEDS) if seed is None or seed < 0 else int(seed),
        **{name: value for name, value in options.items() if value is not None},
    }


def _chosen(written: list[tuple[str, str]], number: int) -> tuple[str, str]:
    return written[number]


def _sent(prompt: str, negative: str) -> tuple[str, Any]:
    """A negative prompt only where there is one: what stands in the other tab stays."""
    return prompt, negative or gr.skip()
