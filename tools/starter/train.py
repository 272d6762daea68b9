"""Train the denoiser on cached latents and the pretrained, frozen text encoder: one process, one thread, resumable.

The learning rate follows training time, not steps, so a busy machine gets fewer steps and still a finished schedule.
SIGTERM (or Ctrl-C) saves and leaves; starting again with the same ``--work`` goes on. With a larger ``--minutes`` a
finished run goes on from where the longer schedule has that time.
"""

from __future__ import annotations

import argparse
import copy
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from autoencoder import load_autoencoder
from captions import LENGTH, Vocabulary, caption, load_tokenizer
from latents import WORK, Latents, load_latents
from networks import TRAIN_STEPS, build_text_encoder, build_unet, noise_levels
from sampling import sample
from sheet import decode, draw_sheet
from subjects import core, subjects

BATCH = 8
PEAK = 1.2e-3
MOVE_FROM = 1.0
SHORT = 24  # tokens; enough for every caption
EMA_EVERY, EMA_DECAY = 4, 0.997
PREVIEW = (
    "a cat on a blue background", "dog", "a pizza on a red background", "a castle", "a robot on a yellow background",
    "a banana on a purple background", "an astronaut", "a car on a green background", "a tree",
    "a penguin on a pink background", "a rocket on a black background", "strawberry", "a girl on a teal background",
    "a house on a beige background", "a guitar", "an owl on an orange background",
)  # fmt: skip


@dataclass
class Clock:
    """Seconds of training so far, over all runs; ``stop`` is set by SIGTERM."""

    budget: float
    spent: float = 0.0
    stop: bool = False
    last: float = field(default_factory=time.monotonic)

    def tick(self) -> float:
        """Add the time since the last tick; returns the fraction of the budget spent."""
        now = time.monotonic()
        self.spent, self.last = self.spent + now - self.last, now
        return min(1.0, self.spent / self.budget)


def learning_rate(progress: float, step: int) -> float:
    """Warm up over 50 steps after each start, stay at ``PEAK``, fall linearly to zero over the last 40 %."""
    return PEAK * min(1.0, (step + 1) / 50, (1 - progress) / 0.4)


class Batches:
    """Endless training batches: every subject equally often, stratified noise levels, seeded."""

    def __init__(self, data: Latents, seed: int, wanted: set[int]) -> None:
        self.data, self.draw = data, random.Random(seed)
        self.torch_draw = torch.Generator().manual_seed(seed)
        self.of_subject: dict[int, list[int]] = {}
        for index, subject in enumerate(data.subject.tolist()):
            if subject in wanted:
                self.of_subject.setdefault(subject, []).append(index)
        self.queue: list[int] = []
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
        """Latents [B, 16, 16, 16], captions, noise of the same shape, timesteps [B].

        Subjects stay in the middle at first: moving them by one cell is a new picture to the coarser levels of the
        network.
        """
        cuts, texts = [], []
        for _ in range(BATCH):
            if not self.queue:
                self.queue = list(self.of_subject)
                self.draw.shuffle(self.queue)
            choices = self.of_subject[self.queue.pop()]
            index = choices[0] if self.draw.random() < 0.3 else self.draw.choice(choices)  # the first is on white
            colour = int(self.data.colour[index])
            moved = progress > MOVE_FROM and self.draw.random() < 0.5
            top, left = (self.draw.choice((0, 1, 2)) if moved else 1 for _ in range(2))
            cuts.append(self.data.pages[index, :, top : top + 16, left : left + 16] + self.data.edges[colour])
            texts.append(caption(self.draw, int(self.data.subject[index]), colour))
        latents = torch.stack(cuts)
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
    parser.add_argument(
        "--all", action="store_true", help="learn all subjects, not only the first ones (subjects.CORE)"
    )
    parser.add_argument("--name", default="main", help="name of this training's state file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(arguments.seed)
    vocabulary = Vocabulary(load_tokenizer(arguments.start / "tokenizer"))
    unet, text = build_unet(), build_text_encoder(len(vocabulary.rows)).eval().requires_grad_(False)
    words = torch.load(arguments.work / "text.pt", weights_only=True)
    if words["rows"] != vocabulary.rows:
        raise SystemExit("the captions' vocabulary changed since text.pt was made: run pretrain_text.py again")
    text.load_state_dict(words["text"])
    optimizer = torch.optim.AdamW(unet.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    smooth = copy.deepcopy(unet).requires_grad_(False)
    clock, step = Clock(arguments.minutes * 60), 0
    file = arguments.work / f"{arguments.name}.pt"
    if file.exists():
        state = torch.load(file, weights_only=True)
        unet.load_state_dict(state["unet"])
        smooth.load_state_dict(state["smooth"])
        if state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
        step, clock.spent = state["step"], state["spent"]
        print(f"resuming at step {step}, {clock.spent / 60:.1f} minutes", flush=True)
    data = load_latents(arguments.work)
    wanted = set(range(len(subjects()))) if arguments.all else core()
    batches = Batches(data, arguments.seed * 1_000_003 + step, wanted)
    millions = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (unet, text)]
    print(f"{len(data.pages)} latents, {len(wanted)} of {len(subjects())} subjects", flush=True)
    print(f"{len(vocabulary.rows)} tokens, denoiser {millions[0]:.1f} M, text encoder {millions[1]:.1f} M", flush=True)

    def save() -> None:
        state = {
            "unet": unet.state_dict(),
            "smooth": smooth.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": clock.spent,
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def stop(*_: object) -> None:
        clock.stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    levels = noise_levels()
    draw = random.Random(step)
    losses: list[float] = []
    saved = drawn = clock.spent
    clock.last = time.monotonic()
    started = (step, clock.spent)
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
        rate = learning_rate(progress, step - started[0])
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
        if clock.spent - drawn > 1200:
            preview(arguments.work, step, arguments.start / "vae", smooth, text, vocabulary)
            drawn = clock.spent
    save()
    print(f"stopped at step {step}, {clock.spent / 60:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
