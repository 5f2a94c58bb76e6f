"""The `ray` executor: cells on the nodes of a Ray cluster. Ray is imported when cells are executed."""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Executor, Option
from cvfp_core.registry.lazy import lazy


@hookimpl
def cvfp_executors() -> Iterable[Executor]:
    yield Executor(
        name="ray", title="on the nodes of a Ray cluster, --jobs cells at a time", run=lazy("cvfp_ray.driver:run"),
        options=(
            Option(name="address", default="auto", help="HOST:PORT of the cluster; auto: the one that this machine is "
                   "a node of; local: a cluster of this machine alone, for as long as the run"),
            Option(name="checkpoints", default="auto", choices=("auto", "shared", "apart"),
                   help="where checkpoints are: shared: in the store, which every node must see; apart: in the node's "
                   "cache; auto: in the store on nodes that see it. Records are stored by the driver"),
        ))
