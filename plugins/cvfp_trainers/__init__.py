"""First-party plugin: what other trainers and trackers leave. Hugging Face Trainer, Weights & Biases, TensorBoard."""

from __future__ import annotations

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester
from cvfp_core.registry.lazy import lazy
from cvfp_trainers.grammars import GRAMMARS


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        *(grammar.ingester() for grammar in GRAMMARS),
        Ingester(
            name="trainer-state", title="trainer_state.json of Hugging Face Trainer, its folder one run",
            matches=lazy("cvfp_trainers.trainer_state:matches"), read=lazy("cvfp_trainers.trainer_state:read"),
            parts=lazy("cvfp_trainers.trainer_state:parts"),
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
            name="wandb-folder", title="folder of a Weights & Biases run on disk",
            matches=lazy("cvfp_trainers.wandb:matches_folder"), read=lazy("cvfp_trainers.wandb:read_folder"),
            parts=lazy("cvfp_trainers.wandb:parts"),
        ),
        Ingester(
            name="lm-eval", title="results of lm-evaluation-harness, which join the run of that name",
            matches=lazy("cvfp_trainers.lm_eval:matches"), read=lazy("cvfp_trainers.lm_eval:read"),
        ),
        Ingester(
            name="mlflow", title="MLflow's folder of a run, or its SQLite database",
            matches=lazy("cvfp_trainers.mlflow:matches"), read=lazy("cvfp_trainers.mlflow:read"),
            parts=lazy("cvfp_trainers.mlflow:parts"),
        ),
        Ingester(
            name="trackio", title="Trackio's SQLite database of a project",
            matches=lazy("cvfp_trainers.trackio:matches"), read=lazy("cvfp_trainers.trackio:read"),
        ),
        Ingester(
            name="tensorboard", title="TensorBoard event files, a folder one run (extra: tensorboard)",
            matches=lazy("cvfp_trainers.tensorboard_events:matches"),
            read=lazy("cvfp_trainers.tensorboard_events:read"), parts=lazy("cvfp_trainers.tensorboard_events:parts"),
        ),
    )
