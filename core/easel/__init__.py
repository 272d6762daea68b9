"""Easel: a self-hosted Stable Diffusion service. The public names for extension authors, nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
