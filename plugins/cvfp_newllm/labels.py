"""What an experiment is called and which published settings it was made with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Settings

MATRIX_V1 = "1L_768d_1tok"
"""The published experiment v1 is its own folder and this configuration of the nine-configuration matrix."""
_PUBLISHED = {
    "1130_context_dim": "v1", "scaling_20251130_051834": "v1",
    "1130_all": "matrix", "scaling_20251130_031816": "matrix",
    "scaling_20251130_063415": "v2",
    "alpha_scaling_20251130_073711": "v3",
}
"""Published experiments by folder, by file, and by the output folder their log names."""
_PRESET_OF = {"matrix": "v1"}
_SAYS_NOTHING = {
    "detailed_results", "summary", "alpha_progression", "output", "log", "logs", "stdout", "console", "out", "run",
    "results", "nohup", "notebook",
}
"""File names that say nothing: the folder's name is taken."""


def label(path: Path, output: str | None, options: IngestOptions) -> str:
    """The experiment's name: given, or of a published one, or from the folder: `1130_v3` is `v3`."""
    if options.experiment:
        return options.experiment
    name = name_of(path)
    printed = Path(output).name if output else ""
    for each in (printed, name):
        if each in _PUBLISHED:
            return _PUBLISHED[each]
    for each in (name, printed):
        if match := re.fullmatch(r"\d{4,8}[_-](v\d+\w*)", each):
            return match[1]
    match = re.fullmatch(r"\d{4,8}[_-](.+)", name)
    return match[1] if match else name or "newllm"


def name_of(path: Path) -> str:
    """The name of a folder or file, or of a file's folder where the file's name says nothing."""
    name = path.name if path.is_dir() else path.stem
    return path.absolute().parent.name if name.lower() in _SAYS_NOTHING else name


def experiment_of(experiment: str, variant: str | None, tag: str | None) -> str:
    """The label of one run: the matrix holds a configuration of v1; other algorithms are experiments of their own."""
    if experiment == "matrix" and variant == MATRIX_V1:
        return "v1"
    return f"{experiment}-{tag}" if tag else experiment


def provenance(
    experiment: str, printed: Mapping[str, Any], options: IngestOptions
) -> tuple[dict[str, Any], str | None]:
    """The columns that follow from the settings, and what the log contradicts (then no preset is used).

    printed: what the log or the results say themselves, as `phase1.max_iterations`. Settings known from a preset are
    marked so in `settings_source`.
    """
    name = _PRESET_OF.get(experiment, experiment)
    preset = options.presets.get(name)
    if preset is None:
        return _from_log(printed), None
    known = _full(preset.overrides)
    for key, value in printed.items():
        section, _, field = key.partition(".")
        if field in known[section] and known[section][field] != value:
            as_preset = f"{field} = {known[section][field]} as in preset '{name}', which is not used"
            return _from_log(printed), f"{as_preset}: {value}"
    for key, value in printed.items():
        section, _, field = key.partition(".")
        known[section][field] = value
    source = f"preset {name}" + (f"; logged: {', '.join(sorted(printed))}" if printed else "")
    return {
        "settings": json.dumps(known, sort_keys=True), "settings_source": source, "seed": 42, "corpus": "ultrachat",
        "tokenizer": "gpt2", "vocab_size": 50257, "embed_dim": 768, "phase1_mode": "trained",
    }, None


def _from_log(printed: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in printed.items():
        section, _, field = key.partition(".")
        nested.setdefault(section, {})[field] = value
    return {
        "settings": json.dumps(nested, sort_keys=True) if nested else None,
        "settings_source": f"log: {', '.join(sorted(printed))}" if nested else None,
    }


def _full(overrides: Mapping[str, Any]) -> dict[str, Any]:
    settings = Settings(
        phase1=Phase1Settings(**overrides.get("phase1", {})), phase2=Phase2Settings(**overrides.get("phase2", {})),
        model=overrides.get("model", {}),
    )
    known = settings.as_dict()
    del known["phase2"]["batch_tokens"]  # as many as fitted the GPU: never printed
    return known
