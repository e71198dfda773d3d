"""Build hook: `sharcs-edge` requires `sharcs-edge-runtime` of exactly its own version."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RuntimeOfTheSameVersion(MetadataHookInterface):
    """Completes `dependencies`, which is dynamic because the version is."""

    def update(self, metadata: dict[str, Any]) -> None:
        metadata["dependencies"] = [f"sharcs-edge-runtime=={metadata['version']}", *self.config["dependencies"]]
