"""First-party plugin: the new-llm experiments. Their settings by name, and the logs they left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester, IngestOptions, Preset
from cvfp_core.schema.found import Found
from cvfp_newllm.presets import PRESETS


@hookimpl
def cvfp_presets() -> tuple[Preset, ...]:
    return PRESETS


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(
            name="newllm-folder", title="results folder of new-llm, with its console log",
            matches=_folder_matches, read=_read_folder,
        ),
        Ingester(name="newllm-log", title="console log of new-llm", matches=_log_matches, read=_read_log),
        Ingester(
            name="newllm-json", title="results or published alphas of new-llm, one JSON file of a results folder",
            matches=_file_matches, read=_read_file,
        ),
    )


def _folder_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_newllm import results

    return results.matches_folder(path, head)


def _read_folder(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_newllm import results

    return results.read_folder(path, options)


def _file_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_newllm import results

    return results.matches_file(path, head)


def _read_file(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_newllm import results

    return results.read_file(path, options)


def _log_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_newllm import console

    return console.matches(path, head)


def _read_log(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_newllm import console

    return console.read(path, options)
