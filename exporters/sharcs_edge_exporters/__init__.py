"""Artifact formats; the host finds each by its entry point in the group ``sharcs_edge.exporters``."""
