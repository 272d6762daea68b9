"""Models: what is on disk, which family a file belongs to, loading it offline, changing its weights, keeping it warm."""
