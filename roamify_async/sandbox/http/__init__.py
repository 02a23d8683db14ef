"""Bytes in and out: validation, responses, errors, serializers and the OpenAPI description."""
