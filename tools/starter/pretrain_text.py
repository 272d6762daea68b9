"""Teach the text encoder to tell subjects and colours apart before any denoiser listens to it.

Trained only through the denoiser, a fresh text encoder first collapses: every prompt gets nearly the same embedding,
because for thousands of steps nothing depends on it yet. Here a linear reading of the end token, of every padding
token after it and of their mean must name the subject and the colour and give the 64 main components of the picture's
latents. That takes minutes.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from captions import END, LENGTH, Vocabulary, caption, load_tokenizer
from latents import WORK, load_latents
from networks import TEXT_WIDTH, build_text_encoder
from subjects import COLOURS, subjects

BATCH, PEAK, COMPONENTS = 32, 1e-3, 64


def picture_codes(pages: torch.Tensor) -> torch.Tensor:
    """Main components [N, 64] of latent pages [N, 16, 18, 18], unit variance over all."""
    flat = pages.flatten(1)
    flat = flat - flat.mean(0)
    directions, strengths, _ = torch.svd_lowrank(flat, q=COMPONENTS, niter=4)
    codes = directions * strengths
    return codes / codes.square().mean().sqrt()


def main() -> None:
    """Train from nothing and write ``work/text.pt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint folder that gives the tokenizer")
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = random.Random(0)
    vocabulary = Vocabulary(load_tokenizer(arguments.start / "tokenizer"))
    data = load_latents(arguments.work)
    codes = picture_codes(data.pages)
    text = build_text_encoder(len(vocabulary.rows))
    sizes = (len(subjects()) + 1, len(COLOURS) + 1, COMPONENTS)
    head = torch.nn.Linear(TEXT_WIDTH, sum(sizes))
    parameters = [*text.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    end = vocabulary.number[END]
    start = time.time()
    for step in range(arguments.steps):
        picked = [draw.randrange(len(data.pages)) for _ in range(BATCH)]
        known = [(int(data.subject[i]), int(data.colour[i])) for i in picked]
        texts = [caption(draw, *pair) for pair in known]
        length = LENGTH if draw.random() < 0.1 else 24
        rows = torch.tensor(vocabulary.encode(texts, length, draw))
        states = text(rows[:, :LENGTH]).last_hidden_state
        after = (rows[:, :LENGTH] == end).float()
        places = torch.multinomial(after, 2)  # two of the end and padding tokens of each caption
        chosen = states.gather(1, places[..., None].expand(-1, -1, TEXT_WIDTH))
        reading = head(torch.cat([chosen, states.mean(1, keepdim=True)], 1))
        silent = torch.tensor([not text for text in texts])
        which = torch.tensor([pair[0] for pair in known]).masked_fill(silent, sizes[0] - 1)
        colour = torch.tensor([pair[1] for pair in known]).masked_fill(silent, sizes[1] - 1)
        wanted = codes[picked].masked_fill(silent[:, None], 0)
        names, shades, picture = reading.split(sizes, -1)
        spread = reading.shape[1]
        loss_name = F.cross_entropy(names.flatten(0, 1), which.repeat_interleave(spread))
        loss_shade = F.cross_entropy(shades.flatten(0, 1), colour.repeat_interleave(spread))
        loss_picture = F.mse_loss(picture, wanted[:, None].expand_as(picture))
        (loss_name + loss_shade + loss_picture).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1, (step + 1) / 50) * (1 - step / arguments.steps)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0:
            right = (names.argmax(-1) == which[:, None]).float().mean()
            print(
                f"step {step + 1} subject {loss_name:.3f} ({right:.2f} right) colour {loss_shade:.3f} "
                f"picture {loss_picture:.3f} {time.time() - start:.0f} s",
                flush=True,
            )
    torch.save({"text": text.state_dict(), "rows": vocabulary.rows}, arguments.work / "text.pt")


if __name__ == "__main__":
    main()
