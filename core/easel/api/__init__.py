"""The HTTP faces of Easel: A1111's `/sdapi/v1` and what belongs to it."""
