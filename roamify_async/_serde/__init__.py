"""Serialization: request values to bytes, response bytes to values."""
