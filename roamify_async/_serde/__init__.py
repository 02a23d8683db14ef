"""Serialization: encodes requests to bytes, and decodes bytes of responses to values."""
