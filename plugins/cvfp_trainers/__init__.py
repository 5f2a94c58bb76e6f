"""First-party plugin: what other trainers and trackers leave. Hugging Face Trainer, Weights & Biases, TensorBoard."""

from __future__ import annotations

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester
from cvfp_core.registry.lazy import lazy


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(
            name="trainer-state", title="trainer_state.json of Hugging Face Trainer, one run",
            matches=lambda _path, head: head is not None and b'"log_history"' in head and b'"global_step"' in head,
            read=lazy("cvfp_trainers.trainer_state:read"),
        ),
        Ingester(
            name="wandb-runs", title="CSV export of Weights & Biases, one row a run",
            matches=lazy("cvfp_trainers.wandb:matches_runs"), read=lazy("cvfp_trainers.wandb:read_runs"),
        ),
        Ingester(
            name="wandb-history", title="CSV export of a Weights & Biases chart, one column a run",
            matches=lazy("cvfp_trainers.wandb:matches_history"), read=lazy("cvfp_trainers.wandb:read_history"),
        ),
        Ingester(
            name="tensorboard", title="TensorBoard event file, one run (extra: tensorboard)",
            matches=lambda _path, head: head is not None and b"brain.Event:" in head[:128],
            read=lazy("cvfp_trainers.tensorboard_events:read"),
        ),
    )
