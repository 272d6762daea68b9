"""Train the denoiser on cached latents and the pretrained, frozen text encoder: one process, one thread, resumable.

The learning rate follows training time, not steps, so a busy machine gets fewer steps and still a finished schedule.
SIGTERM (or Ctrl-C) saves and leaves; starting again with the same ``--work`` goes on. With a larger ``--minutes`` a
finished run goes on from where the longer schedule has that time.
"""

from __future__ import annotations

import argparse
import copy
import random
from pathlib import Path

import torch
from autoencoder import load_autoencoder
from captions import LENGTH, SHORT, Vocabulary, caption, load_tokenizer
from clock import Clock, learning_rate, write_state
from diffusers import UNet2DConditionModel
from latents import WORK, Latents, load_latents
from networks import TRAIN_STEPS, build_text_encoder, build_unet, noise_levels
from sampling import sample
from scenes import Scenes
from sheet import decode, draw_sheet
from subjects import wide_subjects

BATCH = 8
PEAK = 1.2e-3
EMA_EVERY, EMA_DECAY = 4, 0.997
PREVIEW = (
    "a cat on a blue background", "dog", "a pizza on a red background", "a castle", "a robot on a yellow background",
    "a banana on a purple background", "a cat and a dog", "a car and a tree on a green background", "a tiny penguin",
    "a giant strawberry on a black background", "a camel", "a sword on a pink background", "trumpet", "a violin",
    "a mountain on a beige background", "a bed", "an owl on an orange background", "a guitar", "a microscope",
    "a spider on a yellow background", "a dragon", "a taco", "a thumbs up", "a hospital on a teal background",
)  # fmt: skip


class Batches:
    """Endless training batches with stratified noise levels, seeded."""

    def __init__(self, data: Latents, seed: int, names: list[tuple[str, str]]) -> None:
        self.draw, self.names = random.Random(seed), names
        self.torch_draw = torch.Generator().manual_seed(seed)
        self.scenes = Scenes(data, self.draw)
        levels = noise_levels()
        self.signal_to_noise = levels / (1 - levels)

    def cumulative(self, progress: float) -> torch.Tensor:
        """Cumulative density [1000] of timesteps.

        In high noise the network must know the picture by heart from the words alone, which takes longest to learn;
        nearly clean latents teach little, so they come late and seldom.
        """
        knee = 1.0 if progress < 0.6 else 4.0
        density = 1 / (1 + self.signal_to_noise / knee)
        return torch.cumsum(density, 0) / density.sum()

    def next(self, progress: float) -> tuple[torch.Tensor, list[str], torch.Tensor, torch.Tensor]:
        """Latents [B, 16, 16, 16], captions, noise of the same shape, timesteps [B]."""
        drawn = [self.scenes.next() for _ in range(BATCH)]
        latents = torch.stack([latents for _, latents in drawn])
        texts = [caption(self.draw, self.names, scene) for scene, _ in drawn]
        where = (
            torch.randperm(BATCH, generator=self.torch_draw) + torch.rand(BATCH, generator=self.torch_draw)
        ) / BATCH
        times = torch.searchsorted(self.cumulative(progress), where).clamp(max=TRAIN_STEPS - 1)
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
    parser.add_argument("--name", default="main", help="name of this training's state file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    names = wide_subjects(arguments.work)
    vocabulary = Vocabulary(load_tokenizer(arguments.start / "tokenizer"), names)
    unet, text = build_unet(), build_text_encoder(len(vocabulary.rows)).eval().requires_grad_(False)
    words = torch.load(arguments.work / "text.pt", weights_only=True)
    if words["rows"] != vocabulary.rows:
        raise SystemExit("the captions' vocabulary changed since text.pt was made: run pretrain_text.py again")
    text.load_state_dict(words["text"])
    file, step, spent = arguments.work / f"{arguments.name}.pt", 0, 0.0
    if not arguments.fresh:
        known = UNet2DConditionModel.from_pretrained(arguments.start / "unet", torch_dtype=torch.float32)
        unet.load_state_dict(known.state_dict())
    optimizer = torch.optim.AdamW(unet.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    smooth = copy.deepcopy(unet).requires_grad_(False)
    if file.exists():
        state = torch.load(file, weights_only=True)
        unet.load_state_dict(state["unet"])
        smooth.load_state_dict(state["smooth"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        print(f"resuming at step {step}, {spent / 60:.1f} minutes", flush=True)
    batches = Batches(load_latents(arguments.work), arguments.seed * 1_000_003 + step, names)
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

    levels = noise_levels()
    draw = random.Random(step)
    losses: list[float] = []
    saved = drawn = spent
    started = (step, spent)
    clock.start(spent)
    while (progress := clock.tick()) < 1 and not clock.stop:
        latents, captions, noise, times = batches.next(progress)
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
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        rate = learning_rate(PEAK, progress, step - started[0])
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
        if clock.spent - drawn > 600:
            preview(arguments.work, step, arguments.start / "vae", smooth, text, vocabulary)
            drawn = clock.spent
    save()
    print(f"stopped at step {step}, {clock.spent / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
