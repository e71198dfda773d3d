"""SHARCS Edge: train one encoder of several widths and a router, ship it to a small device as one verified folder."""

from sharcs_edge_runtime.version import __version__

__all__ = ["__version__"]
