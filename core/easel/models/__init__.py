"""Models: what is on disk, its family, loading it offline, changing its weights, keeping it warm."""
