"""Reads the project's dependencies from requirements.in, the one place that names them."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

TOOLS_FROM = "# build and checks"


class RequirementsHook(MetadataHookInterface):
    def update(self, metadata: dict) -> None:
        lines = Path(self.root, "requirements.in").read_text(encoding="utf-8").split(TOOLS_FROM)[0].splitlines()
        metadata["dependencies"] = [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]
