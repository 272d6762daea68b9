"""The engine: encodes, denoises and decodes on one device; the only place that computes with models."""
