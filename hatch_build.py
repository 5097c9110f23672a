"""Wheel hook: the root facade becomes the package's `__init__.py`.

An editable install is left alone: its .pth names the checkout, where `ollama_queue.py` itself is
the package.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"]["ollama_queue.py"] = "ollama_queue/__init__.py"
            build_data["force_include"]["testing.py"] = "ollama_queue/testing.py"
            build_data["force_include"]["actors/py.typed"] = "ollama_queue/py.typed"
