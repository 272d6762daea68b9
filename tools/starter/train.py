"""Train the denoiser on cached latents and the pretrained, frozen text encoder: one process, one thread, resumable.

With ``--reading`` it first learns to read maps (maps.py) made of the pictures themselves, which needs no text encoder
and so can run beside pretrain_text.py; without, it goes on with the text encoder's.

The learning rate follows training time, not steps, so a busy machine gets fewer steps and still a finished schedule.
SIGTERM (or Ctrl-C) saves and leaves; starting again with the same ``--work`` goes on. With a larger ``--minutes`` a
finished run goes on from where the longer schedule has that time; with ``--go-on`` it needs nothing but the checkpoint
folder that came of it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from autoencoder import load_autoencoder
from captions import LENGTH, MAP, SHORT, Vocabulary, caption, load_tokenizer
from clock import Clock, learning_rate, write_state
from diffusers import UNet2DConditionModel
from latents import WORK, Latents, load_latents
from maps import Maps
from networks import TRAIN_STEPS, build_text_encoder, build_unet, noise_levels
from pretrain_text import start_from
from sampling import sample
from scenes import Scenes
from sheet import decode, draw_sheet
from subjects import wide_subjects
from transformers import CLIPTextModel

BATCH = 8
PEAK = 1.2e-3
BLIND = 850
"""From this timestep on the noise hides everything: the picture must come from the words alone."""
LOOK = 0.1
EMA_EVERY, EMA_DECAY = 4, 0.997
PREVIEW = (
    "a cat on a blue background", "dog", "a pizza on a red background", "a castle", "a robot on a yellow background",
    "a banana on a purple background", "a cat and a dog", "a car and a tree on a green background", "a tiny penguin",
    "a giant strawberry on a black background", "a camel", "a sword on a pink background", "trumpet", "a violin",
    "a mountain on a beige background", "a bed", "an owl on an orange background", "a guitar", "a microscope",
    "a spider on a yellow background", "a dragon", "a taco", "a thumbs up", "a hospital on a teal background",
)  # fmt: skip


class Words:
    """The text encoder as pretrain_text.py last saved it: the maps' form is laid down, so it may still be learning.

    Where it saved nothing, it is the checkpoint's.
    """

    def __init__(self, file: Path, checkpoint: Path, text: CLIPTextModel, vocabulary: Vocabulary) -> None:
        self.file, self.text, self.vocabulary, self.read = file, text, vocabulary, 0.0
        if not file.exists():
            start_from(checkpoint, text, vocabulary)

    def refresh(self) -> None:
        """Read the file again if it is newer."""
        if not self.file.exists():
            return
        written = self.file.stat().st_mtime
        if written == self.read:
            return
        state = torch.load(self.file, weights_only=True)
        if state["rows"] != self.vocabulary.rows:
            raise SystemExit("the captions' vocabulary changed since text.pt was made: run pretrain_text.py again")
        self.text.load_state_dict(state["text"])
        self.read = written


class Gaze:
    """Where the denoiser looks: a loss that is small when most heads of every cross-attention look at their own patch.

    Left alone, nothing rewards a look at the right patch before what stands there is used, and nothing uses it before
    it is looked at: thousands of steps brought no fall of the loss. Told where to look, it does within a hundred.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.layers = [layer for name, layer in unet.named_modules() if name.endswith("attn2")]
        self.seen: dict[tuple[int, str], torch.Tensor] = {}
        for number, layer in enumerate(self.layers):
            for part in ("to_q", "to_k"):
                getattr(layer, part).register_forward_hook(self.note(number, part))

    def note(self, number: int, part: str) -> Callable[..., None]:
        """A hook that keeps what a projection said."""

        def keep(_module: torch.nn.Module, _given: object, said: torch.Tensor) -> None:
            self.seen[number, part] = said

        return keep

    def loss(self) -> torch.Tensor:
        """Cross-entropy between the attention of all heads but one over the map and the patch of each query."""
        losses = []
        for number, layer in enumerate(self.layers):
            query, key = (
                said.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
                for said in (self.seen[number, "to_q"], self.seen[number, "to_k"])
            )
            edge, side = math.isqrt(query.shape[2]), math.isqrt(MAP)
            cell = torch.arange(edge) * side // edge
            own = (cell[:, None] * side + cell).flatten()
            scores = (query @ key.transpose(-1, -2) * layer.scale)[:, 1:]
            losses.append(F.cross_entropy(scores.flatten(0, 2), own.repeat(scores.shape[0] * scores.shape[1])))
        return torch.stack(losses).mean()


class Batches:
    """Endless training batches with stratified noise levels, seeded."""

    def __init__(self, data: Latents, seed: int, names: list[tuple[str, str]]) -> None:
        self.draw, self.names = random.Random(seed), names
        self.torch_draw = torch.Generator().manual_seed(seed)
        self.scenes = Scenes(data, self.draw)
        levels = noise_levels()
        self.signal_to_noise = levels / (1 - levels)

    def cumulative(self, progress: float, reading: bool) -> torch.Tensor:
        """Cumulative density [1000] of timesteps; of reading's first half only those that show nothing.

        In high noise the network must know the picture by heart from the words alone, which takes longest to learn;
        nearly clean latents teach little, so they come late and seldom.
        """
        knee = 1.0 if progress < 0.6 else 4.0
        density = 1 / (1 + self.signal_to_noise / knee)
        if reading and progress < 0.5:
            density[:BLIND] = 0
        return torch.cumsum(density, 0) / density.sum()

    def next(self, progress: float, reading: bool) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
        """Latents [B, 16, 16, 16], captions, noise of the same shape, timesteps [B]."""
        drawn = [self.scenes.next() for _ in range(BATCH)]
        latents = torch.stack([latents for _, latents in drawn])
        texts = [caption(self.draw, self.names, scene) for scene, _ in drawn]
        where = (
            torch.randperm(BATCH, generator=self.torch_draw) + torch.rand(BATCH, generator=self.torch_draw)
        ) / BATCH
        times = torch.searchsorted(self.cumulative(progress, reading), where).clamp(max=TRAIN_STEPS - 1)
        return latents, texts, torch.randn(latents.shape, generator=self.torch_draw), times


def preview(
    work: Path, step: int, vae: Path, unet: torch.nn.Module, text: torch.nn.Module, vocabulary: Vocabulary
) -> None:
    """Draw ``PREVIEW`` into ``work/previews``."""
    with torch.inference_mode():
        context = text(torch.tensor(vocabulary.encode(list(PREVIEW), LENGTH))).last_hidden_state
        empty = text(torch.tensor(vocabulary.encode([""], LENGTH))).last_hidden_state.expand_as(context)
        latents = sample(lambda x, t, c: unet(x, t, c).sample, context, empty, list(range(len(PREVIEW))), steps=14)
        pictures = decode(load_autoencoder(vae), latents)
    (work / "previews").mkdir(exist_ok=True)
    draw_sheet(pictures, list(PREVIEW), work / "previews" / f"{step:06d}.png", columns=8, edge=192)


def main() -> None:
    """Train until the budget is spent or a signal says stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument(
        "--start", type=Path, required=True, help="checkpoint folder that gives autoencoder and tokenizer"
    )
    parser.add_argument(
        "--minutes", type=float, default=105, help="training time of the whole schedule, all runs together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="do not go on from the checkpoint's denoiser")
    parser.add_argument("--go-on", action="store_true", help="count what the checkpoint's card says it was trained for")
    parser.add_argument("--reading", action="store_true", help="learn from the pictures' own maps, without words")
    parser.add_argument("--name", default="main", help="name of this training's state file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    names = wide_subjects(arguments.work)
    vocabulary = Vocabulary(load_tokenizer(arguments.start / "tokenizer"), names)
    unet, text = build_unet(), build_text_encoder(len(vocabulary.rows)).eval().requires_grad_(False)
    words = Words(arguments.work / "text.pt", arguments.start, text, vocabulary)
    file, step, spent = arguments.work / f"{arguments.name}.pt", 0, 0.0
    if not arguments.fresh:
        known = UNet2DConditionModel.from_pretrained(arguments.start / "unet", torch_dtype=torch.float32)
        unet.load_state_dict(known.state_dict())
    if arguments.go_on:
        trained = json.loads((arguments.start / "card.json").read_text())["trained"]
        step, spent = trained["steps"], trained["minutes"] * 60
    optimizer = torch.optim.AdamW(unet.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    smooth = copy.deepcopy(unet).requires_grad_(False)
    if file.exists():
        state = torch.load(file, weights_only=True)
        unet.load_state_dict(state["unet"])
        smooth.load_state_dict(state["smooth"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"resuming at step {step}, {spent / 60:.1f} minutes", flush=True)
    data = load_latents(arguments.work)
    batches, maps = Batches(data, arguments.seed * 1_000_003 + step, names), Maps.of(arguments.work, data)
    millions = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (unet, text)]
    print(f"{len(batches.scenes.data.pieces)} pieces, {len(names)} subjects, {len(vocabulary.rows)} tokens", flush=True)
    print(f"denoiser {millions[0]:.1f} M, text encoder {millions[1]:.1f} M", flush=True)
    clock = Clock(arguments.minutes)

    def save() -> None:
        state = {
            "unet": unet.state_dict(),
            "smooth": smooth.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": clock.spent,
        }
        write_state(file, state)

    levels, gaze = noise_levels(), Gaze(unet)
    draw = random.Random(step)
    losses: list[float] = []
    saved = drawn = spent
    started = (step, spent)
    clock.start(spent)
    while (progress := clock.tick()) < 1 and not clock.stop:
        latents, captions, noise, times = batches.next(progress, arguments.reading)
        if arguments.reading:
            known = torch.tensor([bool(caption) for caption in captions])
            context = maps.states(latents) * known[:, None, None]
        else:
            words.refresh()
            long = draw.random() < (0.5 if progress > 0.92 else 0.06)  # callers pad to 77; shorter is cheaper
            rows = torch.tensor(vocabulary.encode(captions, LENGTH if long else SHORT, draw))
            with torch.inference_mode():
                context = text(rows).last_hidden_state
        signal_part, noise_part = (
            levels[times].sqrt()[:, None, None, None],
            (1 - levels[times]).sqrt()[:, None, None, None],
        )
        noisy = (signal_part * latents + noise_part * noise).contiguous(memory_format=torch.channels_last)
        wanted = signal_part * noise - noise_part * latents
        guess = unet(noisy, times, context.clone()).sample
        loss = (guess - wanted).square().mean()
        (loss + LOOK * gaze.loss() if arguments.reading else loss).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        rate = learning_rate(PEAK, 0.0 if arguments.reading else progress, step - started[0])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        losses.append(loss.item())
        if step % EMA_EVERY == 0:
            decay = min(EMA_DECAY, (step + 1) / (step + 40))
            torch._foreach_lerp_(list(smooth.parameters()), list(unet.parameters()), 1 - decay)
        if step % 50 == 0:
            pace = (clock.spent - started[1]) / max(1, step - started[0])
            print(
                f"step {step} loss {sum(losses) / len(losses):.4f} rate {rate:.2e} {pace:.3f} s/step "
                f"{clock.spent / 60:.1f} min",
                flush=True,
            )
            losses.clear()
        if clock.spent - saved > 240:
            save()
            saved = clock.spent
        if clock.spent - drawn > 600 and not arguments.reading:
            preview(arguments.work, step, arguments.start / "vae", smooth, text, vocabulary)
            drawn = clock.spent
    save()
    print(f"stopped at step {step}, {clock.spent / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
