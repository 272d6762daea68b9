"""Learn one token vector for a background colour the starter has no word for: ``easel-lime``.

Everything is frozen but the vector (192 numbers), which begins between "yellow" and "green"; the denoiser's loss on
pictures with that background moves it. Written as A1111's ``emb_params``.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from autoencoder import load_autoencoder
from captions import LENGTH, SHORT, with_article
from evaluate import Checkpoint
from latents import WORK, encode
from networks import noise_levels
from pictures import load_subjects, paint
from safetensors.torch import save_file
from subjects import core, subjects
from torch import Tensor

NAME, LIME = "easel-lime", (168, 216, 40)
PLACEHOLDER = "lime"  # one token of CLIP's that no caption uses; only while training
BATCH, PEAK = 8, 2e-2


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder of the checkpoint it is for")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--to", type=Path, required=True, help="file to write (.safetensors)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw, noises = random.Random(0), torch.Generator().manual_seed(0)
    checkpoint = Checkpoint(arguments.checkpoint)
    unet, text = checkpoint.unet.requires_grad_(False), checkpoint.text.requires_grad_(False)
    chosen = [subjects()[number] for number in sorted(core())]
    pictures = load_subjects(arguments.work, [label for label, _ in chosen])
    autoencoder = load_autoencoder(arguments.checkpoint / "vae")
    latents = torch.stack([encode(autoencoder, paint(pictures[label], LIME)) for label, _ in chosen]).clone()
    table = text.get_input_embeddings()
    number, yellow, green = (checkpoint.tokenizer.encode(word)[1] for word in (PLACEHOLDER, "yellow", "green"))
    vector = ((table.weight[yellow] + table.weight[green]) / 2).clone().requires_grad_(True)

    def put_in(_: object, rows: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return torch.where((rows[0] == number)[..., None], vector, out)

    table.register_forward_hook(put_in)
    optimizer = torch.optim.AdamW([vector], lr=PEAK, weight_decay=0.0)
    levels = noise_levels()
    for step in range(arguments.steps):
        picked = draw.sample(range(len(chosen)), BATCH)
        texts = [f"{with_article(chosen[i][1])} on a {PLACEHOLDER} background" for i in picked]
        rows = checkpoint.tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids
        context = text(rows[:, :SHORT]).last_hidden_state
        times = torch.randint(300, 1000, (BATCH,), generator=noises)
        clean = latents[picked]
        noise = torch.randn(clean.shape, generator=noises)
        signal, level = (part[times].sqrt()[:, None, None, None] for part in (levels, 1 - levels))
        noisy = (signal * clean + level * noise).contiguous(memory_format=torch.channels_last)
        loss = (unet(noisy, times, context).sample - (signal * noise - level * clean)).square().mean()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = PEAK * (1 - step / arguments.steps)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 25 == 0:
            print(f"step {step + 1} loss {loss.item():.4f}", flush=True)
    save_file({"emb_params": vector.detach().half()[None]}, arguments.to, {"name": NAME, "format": "pt"})


if __name__ == "__main__":
    main()
