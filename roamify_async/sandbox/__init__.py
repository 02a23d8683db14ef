"""A stand-in for Roamify's partner API on a loopback port: real HTTP, real state, and faults on demand."""

from .sandbox import Sandbox

__all__ = ["Sandbox"]
