"""Putting Easel into service and checking that it is well."""
