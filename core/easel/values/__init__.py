"""Frozen values that travel between the parts; nothing here imports torch."""
