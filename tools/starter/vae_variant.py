"""Make the autoencoder variant ``starter_vivid``: the decoder learns to give stronger colours.

It learns from the plain decoder's own pictures of the training latents, with their saturation raised, so no picture is
needed and a few minutes are enough. Written as one file with diffusers' configuration in its metadata.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from autoencoder import load_autoencoder
from clock import Clock, learning_rate, write_state
from latents import WHOLE, WORK, load_latents
from safetensors.torch import save_file
from torch import Tensor

BATCH, CELLS, PEAK = 8, 6, 3e-4
SATURATION = 1.6


def vivid(pixels: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] in -1..1 with the distance of every colour from its grey raised."""
    grey = (pixels * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return (grey + (pixels - grey) * SATURATION).clamp(-1, 1)


def main() -> None:
    """Train (resumable) and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vae", type=Path, help="folder of the plain autoencoder")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--to", type=Path, required=True, help="file to write (.safetensors)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = load_autoencoder(arguments.vae).requires_grad_(False)
    made = copy.deepcopy(plain)
    trained = list(made.decoder.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(trained, lr=PEAK, betas=(0.9, 0.99), fused=True)
    file, step, spent = arguments.work / "vivid.pt", 0, 0.0
    if file.exists():
        state = torch.load(file, weights_only=True)
        made.decoder.load_state_dict(state["decoder"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    data = load_latents(arguments.work)
    keys = [key for key in data.pieces if key[0] == WHOLE]
    draw, clock, started, saved = random.Random(step), Clock(arguments.minutes), step, spent

    def save() -> None:
        state = {"decoder": made.decoder.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        write_state(file, state | {"spent": clock.spent})

    clock.start(spent)
    while (progress := clock.tick()) < 1 and not clock.stop:
        cuts = []
        for key in draw.sample(keys, BATCH):
            y, x = (draw.randint(0, 16 - CELLS) for _ in range(2))
            cuts.append(data.compose(key[2], (key, 0, 0))[:, y : y + CELLS, x : x + CELLS])
        latents = torch.stack(cuts).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            wanted = vivid(plain.decode(latents).sample)
        loss = F.l1_loss(made.decode(latents).sample, wanted.clone())
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, progress, step - started, fall=0.8)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 20 == 0:
            print(f"step {step} loss {loss.item():.4f} {clock.spent / 60:.1f} min", flush=True)
        if clock.spent - saved > 120:
            saved = clock.spent
            save()
    save()
    tensors = {name: tensor.half().contiguous() for name, tensor in made.state_dict().items()}
    config = json.loads(made.to_json_string())
    config.pop("_name_or_path", None)
    save_file(tensors, arguments.to, {"config": json.dumps(config), "format": "pt"})


if __name__ == "__main__":
    main()
