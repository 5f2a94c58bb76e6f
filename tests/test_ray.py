"""The `ray` executor on clusters of one-core nodes on this machine: nodes that leave and join, and what it refuses."""

import importlib.util
import sys
import time
from dataclasses import replace

import pytest

from cvfp_core.errors import UsageError
from cvfp_core.schema import store
from cvfp_core.testing import check_executor
from cvfp_core.testing.executors import Asked, at_work, made_cells, records, start
from cvfp_ray import cvfp_executors
from made_runs import made_cell

(RAY,) = cvfp_executors()
OPTIONS = {option.name: option.default for option in RAY.options}
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None or sys.platform == "win32",
                              reason="Ray is not installed: pip install 'cvfp[ray]'")


@pytest.fixture(scope="module")
def cluster():
    """A head and a node with a core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    made.leaving = made.add_node(**NODE)
    yield made
    made.shutdown()


@with_ray
def test_a_grid_outlives_a_node_that_leaves_and_takes_in_one_that_joins(tmp_path, cluster):
    cells = tuple(replace(cell, job="made") for cell in made_cells(tmp_path, 6))
    folder = store.create(tmp_path / "runs")
    asked = Asked(executor=RAY, cells=cells, folder=folder, jobs=2,
                  options=OPTIONS | {"address": cluster.address, "checkpoints": "apart"})
    with start(asked, tmp_path / "asked") as driver:
        while not (records(folder) and len(at_work(cells, folder)) == 2):
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.02)
        cluster.remove_node(cluster.leaving)
        cluster.add_node(**NODE)
        out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert sorted(out.split()) == sorted(cell.run_id for cell in cells)
    found = store.read(folder)
    assert found["status"].to_list() == ["ok"] * 6
    assert found["lost_workers"].sum() >= 1
    assert (found["attempts"] == found["lost_workers"] + 1).all()
    assert not (folder / "checkpoints").exists()


@with_ray
@pytest.mark.slow
def test_the_executor_keeps_what_the_kit_asks_of_one(cluster):
    check_executor(RAY, options={"address": cluster.address})


def refusal(tmp_path, **options):
    with pytest.raises(UsageError) as error:
        RAY.run([made_cell()], tmp_path, 2, lambda _: None, OPTIONS | options)
    return str(error.value)


def test_ray_that_is_not_installed_is_said_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refusal(tmp_path) == "executor 'ray' needs Ray, which is not installed; pip install 'cvfp[ray]'"


@with_ray
@pytest.mark.parametrize(("address", "said"), [
    ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1 (Connection refused); start one with `ray start --head`, or "
     "say executor.address=local"),
    ("ray://head:10001", "executor.address must be HOST:PORT, auto or local, not 'ray://head:10001'"),
    ("head", "executor.address must be HOST:PORT, auto or local, not 'head'"),
])
def test_an_address_that_nobody_answers_is_refused(tmp_path, address, said):
    assert refusal(tmp_path, address=address) == said


@with_ray
def test_nodes_that_cannot_take_part_are_refused(tmp_path, cluster, monkeypatch):
    from cvfp_ray import driver

    nowhere = tmp_path / "nowhere" / "cvfp-store.json"
    with driver._connected(cluster.address):
        with pytest.raises(UsageError, match=r"node \S+ does not see '.*'; choose a folder that all nodes share with"):
            driver._nodes(tmp_path, nowhere, [made_cell()], shared=True)
        with pytest.raises(UsageError, match=r"cells ask for cuda, and no node of the cluster has a GPU; say --device"):
            driver._nodes(tmp_path, nowhere, [replace(made_cell(), device="cuda")], shared=False)
        monkeypatch.setattr(driver, "__version__", "0.0.1")
        with pytest.raises(UsageError, match=r"node \S+ has cvfp \S+, and this is cvfp 0.0.1; install the same on all"):
            driver._nodes(tmp_path, nowhere, [made_cell()], shared=False)
