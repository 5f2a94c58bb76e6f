"""The `slurm` executor: cells on a Slurm cluster, as an array of workers that share the grid through the store."""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Executor, Option
from cvfp_core.registry.lazy import lazy

OPTIONS = (
    Option(name="partition", default=None, help="Partition of the cluster; by default the cluster's own default."),
    Option(name="account", default=None, help="Account that is charged."),
    Option(name="time", default=60, help="Time limit of a worker; one that nears it is queued again.", unit="minutes",
           minimum=5),
    Option(name="width", default=8, help="Workers of the array, where --jobs gives no number.", minimum=1),
    Option(name="cpus", default=1, help="CPU cores of a worker.", minimum=1),
    Option(name="gpus", default=0, help="GPUs of a worker.", minimum=0),
    Option(name="memory", default=None, help="Memory of a worker; by default the partition's.", unit="GiB", above=0),
)


@hookimpl
def cvfp_executors() -> Iterable[Executor]:
    yield Executor(
        name="slurm", title="on a Slurm cluster, as an array of workers", options=OPTIONS, elsewhere=True,
        submit=lazy("cvfp_slurm.array:submit"), status=lazy("cvfp_slurm.array:status"),
        cancel=lazy("cvfp_slurm.array:cancel"),
    )
