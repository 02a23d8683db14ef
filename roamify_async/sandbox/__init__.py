"""A stand-in for Roamify's partner API on a loopback port: a real HTTP server with state and scripted faults."""

from .booked import BookedItem, BookedOrder, ReceivedRequest
from .sandbox import Sandbox

__all__ = ["BookedItem", "BookedOrder", "ReceivedRequest", "Sandbox"]
