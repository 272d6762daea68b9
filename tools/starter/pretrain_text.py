"""Teach the text encoder what pictures look like before any denoiser listens to it.

Trained only through the denoiser, a fresh text encoder first collapses: every prompt gets nearly the same embedding,
because for thousands of steps nothing depends on it yet. Here linear readings of its states must give

- from the end token, the padding tokens after it (up to place 16) and the mean of all: the subjects' names, the
  colour, and the main components of the whole picture's latents;
and the padding token at place 16 + p is itself the state that maps.py lays down for patch p of the picture, so that the
denoiser only has to look it up. The map is repeated up to place 77.

Both are regressions without noise, far cheaper a sample than steps of the denoiser.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import COLOUR_ONLY, END, LENGTH, MAP, SHORT, UNKNOWN, WORDS, Scene, Vocabulary, caption, load_tokenizer
from clock import Clock, learning_rate, write_state
from latents import WORK, load_latents
from maps import PATCH_CODES, PLACE_CODES, WHOLE_CODES, Maps
from networks import TEXT_WIDTH, build_text_encoder
from scenes import Scenes
from subjects import COLOURS, wide_subjects
from transformers import CLIPTextModel

BATCH, PEAK = 32, 1.5e-3
REST = 0.1
"""Weight of what a map token has no use for; the layer norm needs some freedom."""


def start_from(folder: Path, model: CLIPTextModel, vocabulary: Vocabulary) -> None:
    """Take a checkpoint's text encoder: layers, places, and the rows of the tokens it knew (unlike its unknown row)."""
    old = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).state_dict()
    name = next(key for key in old if key.endswith("token_embedding.weight"))
    table = old.pop(name)
    model.load_state_dict(old, strict=False)
    unknown = table[50]
    with torch.no_grad():
        for row, token in enumerate(vocabulary.rows):
            if token == UNKNOWN or not torch.equal(table[token], unknown):
                model.get_input_embeddings().weight[row] = unknown if token == UNKNOWN else table[token]


def targets(scenes: list[Scene], texts: list[str], nothing: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Class numbers: left and right subject [B, 2] (``nothing`` where there is none) and colour [B]."""
    names = [
        [*scene.subjects, nothing][:2] if text and text not in COLOUR_ONLY else [nothing, nothing]
        for scene, text in zip(scenes, texts, strict=True)
    ]
    colours = [scene.colour if text else len(COLOURS) for scene, text in zip(scenes, texts, strict=True)]
    return torch.tensor(names), torch.tensor(colours)


def main() -> None:
    """Train and write ``work/text.pt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint folder that gives the tokenizer")
    parser.add_argument("--fresh", action="store_true", help="do not go on from the checkpoint's text encoder")
    parser.add_argument("--minutes", type=float, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    names = wide_subjects(arguments.work)
    vocabulary = Vocabulary(load_tokenizer(arguments.start / "tokenizer"), names)
    data = load_latents(arguments.work)
    maps = Maps.of(arguments.work, data)
    text = build_text_encoder(len(vocabulary.rows))
    text.set_attn_implementation("eager")  # the other's backward pass takes a third of the time on a processor
    if not arguments.fresh:
        start_from(arguments.start, text, vocabulary)
    sizes = (len(names) + 1, len(names) + 1, len(COLOURS) + 1, WHOLE_CODES)
    head = torch.nn.Linear(TEXT_WIDTH, sum(sizes))
    parts = torch.nn.ModuleDict({"text": text, "head": head})
    optimizer = torch.optim.AdamW(parts.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    file, step = arguments.work / "text.pt", 0
    clock = Clock(arguments.minutes)
    clock.start()
    if file.exists():
        state = torch.load(file, weights_only=True)
        if state["rows"] != vocabulary.rows:
            raise SystemExit(f"{file} was made for other captions: remove it")
        parts.load_state_dict(state["parts"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        clock.start(state["spent"])
    started, saved = step, clock.spent
    draw = random.Random(step)
    scenes = Scenes(data, draw)
    end = vocabulary.number[END]
    while (progress := clock.tick()) < 1 and not clock.stop:
        drawn = [scenes.next() for _ in range(BATCH)]
        texts = [caption(draw, names, scene) for scene, _ in drawn]
        latents = torch.stack([latents for _, latents in drawn])
        length = LENGTH if draw.random() < 0.08 else SHORT
        rows = torch.tensor(vocabulary.encode(texts, length, draw))
        with torch.autocast("cpu", torch.bfloat16):
            states = text(rows).last_hidden_state.float()
        after = (rows[:, :WORDS] == end).float()  # the end and padding tokens; of very long captions the last places
        after[:, -2:] += 1e-6
        places = torch.multinomial(after, 2)
        chosen = states.gather(1, places[..., None].expand(-1, -1, TEXT_WIDTH))
        reading = head(torch.cat([chosen, states[:, :WORDS].mean(1, keepdim=True)], 1))
        left, right, shades, picture = reading.split(sizes, -1)
        which, colour = targets([scene for scene, _ in drawn], texts, len(names))
        spread = reading.shape[1]
        loss_name = sum(
            F.cross_entropy(guess.flatten(0, 1), wanted.repeat_interleave(spread))
            for guess, wanted in ((left, which[:, 0]), (right, which[:, 1]))
        )
        loss_shade = F.cross_entropy(shades.flatten(0, 1), colour.repeat_interleave(spread))
        known = torch.tensor([bool(text) for text in texts])
        wanted = maps.whole.codes(latents.flatten(1))[known]
        loss_picture = F.mse_loss(picture[known], wanted[:, None].expand(-1, spread, -1))
        map_states = states[known, WORDS:]
        repeated = maps.states(latents[known]).repeat(1, -(-map_states.shape[1] // MAP), 1)
        parts_of_map = (PATCH_CODES, PLACE_CODES, TEXT_WIDTH - PATCH_CODES - PLACE_CODES)
        loss_map, loss_place, loss_rest = (
            part.mean() for part in (map_states - repeated[:, : map_states.shape[1]]).square().split(parts_of_map, -1)
        )
        loss_map_all = 2 * loss_map + loss_place + REST * loss_rest
        (0.5 * loss_name + 0.5 * loss_shade + loss_picture + loss_map_all).backward()
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, progress, step - started, fall=0.7)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0:
            right_share = (left.argmax(-1) == which[:, :1]).float().mean()
            print(
                f"step {step} names {loss_name:.3f} ({right_share:.2f} right) colour {loss_shade:.3f} "
                f"picture {loss_picture:.3f} map {loss_map:.3f} place {loss_place:.3f} rest {loss_rest:.3f} "
                f"{clock.spent / 60:.1f} min",
                flush=True,
            )
        if clock.spent - saved > 120 or progress >= 1:
            saved = clock.spent
            write_state(file, state_of(parts, optimizer, vocabulary, step, clock))
    write_state(file, state_of(parts, optimizer, vocabulary, step, clock))


def state_of(
    parts: torch.nn.ModuleDict, optimizer: torch.optim.Optimizer, vocabulary: Vocabulary, step: int, clock: Clock
) -> dict[str, object]:
    """What a later run needs: networks, optimizer, the vocabulary they were made for, and how far they are."""
    return {
        "text": parts["text"].state_dict(),
        "parts": parts.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rows": vocabulary.rows,
        "step": step,
        "spent": clock.spent,
    }


if __name__ == "__main__":
    main()
