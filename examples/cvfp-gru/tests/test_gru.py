"""What the plugin promises; the checks come with cvfp."""

from pathlib import Path

import polars as pl
import pytest
from cvfp_core.registry.kinds import Analysis, Fitter, Ingester, VariantFamily
from cvfp_core.testing import check_analysis, check_fitter, check_ingester, check_light, check_variant, load_only
from cvfp_core.testing.analyses import null_data

import cvfp_gru

GRU = load_only(cvfp_gru)


def test_cvfp_stays_quick_with_the_plugin_installed():
    check_light(cvfp_gru)


@pytest.mark.parametrize("name", ["gru_1L_16d_1tok", "gru_2L_24d_2tok"])
def test_both_phases_train_the_gru(name):
    check_variant(GRU.get(VariantFamily, "gru"), name)


def test_a_log_is_read_to_its_last_line():
    check_ingester(GRU.get(Ingester, "gru-log"), Path(__file__).with_name("runs.log"), runs=3)


def test_the_law_of_a_head_start_is_recovered():
    check_fitter(GRU.get(Fitter, "head-start"), {"A": 5000.0, "N0": 50_000.0, "alpha": -0.3}, unit_free=["alpha"])


def twins(seed):
    """The same shapes in two families, with perplexities drawn alike."""
    residual, gru = null_data(2 * seed), null_data(2 * seed + 1)
    gru = gru.with_columns(
        family=pl.lit("gru"), variant=pl.format("gru_{}", "variant"), run_id=pl.format("gru-{}", "run_id")
    )
    return pl.concat([residual, gru])


def test_no_family_is_preferred_by_chance():
    check_analysis(GRU.get(Analysis, "gru-ppl"), null=twins)
