"""First-party plugin: what other trainers and trackers leave. Hugging Face Trainer, Weights & Biases, TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester, IngestOptions
from cvfp_core.schema.found import Found


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(
            name="trainer-state", title="trainer_state.json of Hugging Face Trainer, one run",
            matches=_state_matches, read=_read_state,
        ),
        Ingester(
            name="wandb-runs", title="CSV export of Weights & Biases, one row a run",
            matches=_runs_match, read=_read_runs,
        ),
        Ingester(
            name="wandb-history", title="CSV export of a Weights & Biases chart, one column a run",
            matches=_history_matches, read=_read_history,
        ),
        Ingester(
            name="tensorboard", title="TensorBoard event file, one run (extra: tensorboard)",
            matches=_events_match, read=_read_events,
        ),
    )


def _state_matches(path: Path, head: bytes | None) -> bool:
    del path
    return head is not None and b'"log_history"' in head and b'"global_step"' in head


def _read_state(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_trainers import trainer_state

    return trainer_state.read(path, options)


def _runs_match(path: Path, head: bytes | None) -> bool:
    from cvfp_trainers import wandb

    return head is not None and wandb.matches_runs(path, head)


def _read_runs(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_trainers import wandb

    return wandb.read_runs(path, options)


def _history_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_trainers import wandb

    return head is not None and wandb.matches_history(path, head)


def _read_history(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_trainers import wandb

    return wandb.read_history(path, options)


def _events_match(path: Path, head: bytes | None) -> bool:
    del path
    return head is not None and b"brain.Event:" in head[:128]


def _read_events(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_trainers import tensorboard_events

    return tensorboard_events.read(path, options)
