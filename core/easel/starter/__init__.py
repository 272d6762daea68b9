"""The embedded starter weights: a diffusers folder with a card (see docs/starter-models.md)."""
