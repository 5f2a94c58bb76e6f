"""First-party plugin: the new-llm experiments. Their settings by name, and the logs they left."""

from __future__ import annotations

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester, Preset
from cvfp_core.registry.lazy import lazy
from cvfp_newllm.presets import PRESETS


@hookimpl
def cvfp_presets() -> tuple[Preset, ...]:
    return PRESETS


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(
            name="newllm-folder", title="results folder of new-llm, with its console log",
            matches=lazy("cvfp_newllm.results:matches_folder"), read=lazy("cvfp_newllm.results:read_folder"),
        ),
        Ingester(
            name="newllm-log", title="console log of new-llm",
            matches=lazy("cvfp_newllm.console:matches"), read=lazy("cvfp_newllm.console:read"),
        ),
        Ingester(
            name="newllm-json", title="results or published alphas of new-llm, one JSON file of a results folder",
            matches=lazy("cvfp_newllm.results:matches_file"), read=lazy("cvfp_newllm.results:read_file"),
        ),
    )
