"""What a cell is given of a machine: the memory that a dry run says, as a share of a GPU where there is one."""

from dataclasses import replace

from cvfp_core import registry
from cvfp_core.running.compute import corpus_key
from cvfp_core.running.costs import costs
from cvfp_core.running.needs import needs
from made_runs import made_cell, made_corpus

GIB = 2**30
CELL = replace(made_cell("2L_768d_1tok"), train_tokens=1_000_000)
CORPUS = made_corpus(width=768)


def of(cell):
    return needs([cell], registry.installed(), {corpus_key(cell): CORPUS})[cell.run_id]


def test_on_a_cpu_it_is_given_what_a_dry_run_says():
    (cost,) = costs([CELL], registry.installed(), CORPUS)
    assert of(CELL).memory == cost.memory
    assert of(CELL).gpu_share(80 * GIB) == 0.0
    assert of(CELL).with_more_memory().memory == 2 * cost.memory


def test_on_a_gpu_it_gets_the_share_that_holds_its_contexts():
    """A million tokens of two layers of 768 numbers are 5.7 GiB, and the rest less than one."""
    large = replace(CELL, device="cuda")
    small = replace(large, train_tokens=1_000)
    assert [of(each).gpu_share(40 * GIB) for each in (small, large)] == [0.125, 0.25]
    assert of(large).with_more_memory().gpu_share(40 * GIB) == 0.5
    assert [of(each).gpu_share(10 * GIB) for each in (small, large)] == [0.125, 1.0]
    assert of(large).memory < 2 * GIB
