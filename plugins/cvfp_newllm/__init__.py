"""First-party plugin: the new-llm experiments. Their settings by name, and the logs they left."""

from __future__ import annotations

from cvfp_core import hookimpl
from cvfp_core.kinds import Ingester, Preset
from cvfp_newllm.presets import PRESETS


@hookimpl
def cvfp_presets() -> tuple[Preset, ...]:
    return PRESETS
