"""The text transformer of CLIP and OpenCLIP, as every Stable Diffusion model has it.

Written here rather than taken from transformers: prompts need the hidden states of any layer and token vectors of
textual inversions, and that library moves its modules about between versions. Tensor names are those of
transformers' flattened `CLIPTextModel`. Radford et al., arXiv:2103.00020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """Sizes of one text encoder."""

    width: int
    layers: int
    heads: int
    inner: int
    tokens: int = 49408
    positions: int = 77
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    projection: int | None = None  # width of the pooled vector; None: the encoder has none


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:  # (n, tokens, width)
        """Attend to earlier tokens."""
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        out: Tensor = self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return out


class Feedforward(nn.Module):
    """Two layers with CLIP's activation between them."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.inner)
        self.fc2 = nn.Linear(config.inner, config.width)
        self.activation: Callable[[Tensor], Tensor] = F.gelu if config.activation == "gelu" else quick_gelu

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each token."""
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.mlp = Feedforward(config)
        self.layer_norm2 = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the feed-forward part."""
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class ClipText(nn.Module):
    """Token vectors in, hidden states of all layers out."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": nn.Embedding(config.tokens, config.width),
                "position_embedding": nn.Embedding(config.positions, config.width),
            }
        )
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config.layers))})
        self.final_layer_norm = nn.LayerNorm(config.width)
        if config.projection is not None:
            self.text_projection = nn.Linear(config.width, config.projection, bias=False)

    def token_vectors(self, tokens: Tensor) -> Tensor:
        """(n, 77) token ids → (n, 77, width), positions not yet added."""
        out: Tensor = self.embeddings["token_embedding"](tokens)
        return out

    def forward(self, vectors: Tensor) -> list[Tensor]:
        """(n, 77, width) token vectors → layers + 1 hidden states of that shape, the input's first, none normed."""
        places = torch.arange(vectors.shape[1], device=vectors.device)
        states = [vectors + self.embeddings["position_embedding"](places)]
        for layer in self.encoder["layers"]:  # type: ignore[attr-defined]
            states.append(layer(states[-1]))
        return states

    def pooled(self, last: Tensor, tokens: Tensor) -> Tensor:
        """The projected state at the end token: (n, projection). The end token has the highest id."""
        rows = torch.arange(len(last), device=last.device)
        out: Tensor = self.text_projection(self.final_layer_norm(last)[rows, tokens.argmax(dim=-1)])
        return out


def quick_gelu(x: Tensor) -> Tensor:
    """The activation OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)
