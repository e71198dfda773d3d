"""How long an artifact's graphs take on a device: measured there, or estimated from its profile."""

from sharcs_edge.latency.timing import Latency, MeasuredLatency, Timing, find_timing, mean_macs, was_made_on

__all__ = ["Latency", "MeasuredLatency", "Timing", "find_timing", "mean_macs", "was_made_on"]
