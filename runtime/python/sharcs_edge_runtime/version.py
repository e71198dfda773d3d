"""The one version number: both distributions (`sharcs-edge`, `sharcs-edge-runtime`) read it from here."""

__version__ = "0.1.0"
