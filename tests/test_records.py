"""The gate into the record schema: what conforms, what is rejected, and that nothing is guessed."""

import math
from dataclasses import fields

import polars as pl
import pytest

from cvfp_core.schema import records
from cvfp_core.schema.records import SCHEMA, Record, conform, frame

ROW = {"run_id": "a-1", "experiment": "a", "variant": "1L_8d_1tok"}


def one(**changed):
    """The row that comes through the gate, as a dictionary."""
    made = conform(pl.DataFrame([ROW | changed], strict=False))
    assert made.rejected == ()
    return made.records.to_dicts()[0]


def rejection(**changed):
    made = conform(pl.DataFrame([ROW | changed], strict=False))
    assert made.records.is_empty()
    assert made.records.schema.names()[: len(SCHEMA)] == list(SCHEMA)
    (rejected,) = made.rejected
    return rejected.column, rejected.reason


def test_missing_columns_are_null_and_the_status_is_ok():
    row = one()
    assert list(row) == [each.name for each in fields(Record)] == list(SCHEMA)
    assert {name for name, value in row.items() if value is not None} == {*ROW, "status"}
    assert row["status"] == "ok"


def test_the_frame_of_records_conforms_and_is_unchanged():
    made = frame([
        Record(**ROW, val_ppl=3.5, seed=0, phase1_censored=False), Record(**ROW, status="failed", reason="x"),
    ])
    assert made.schema == SCHEMA
    again = conform(made)
    assert again.rejected == ()
    assert again.records.drop("val_loss", "derived").equals(made.drop("val_loss", "derived"))
    assert conform(again.records).records.equals(again.records)


@pytest.mark.parametrize(("given", "column", "value"), [
    (7.0, "num_layers", 7), (7, "num_samples", 7.0), (0.5, "params", 0.5), (2e19, "flops", 2e19),
    (7, "val_ppl", 7.0), (0, "phase1_iterations", 0), (1, "val_er", 1.0),
    (0.0, "val_acc", 0.0), (0, "seed", 0), (-0.5, "diversity_loss", -0.5), (5, "experiment", "5"),
    (True, "phase1_censored", True),
])
def test_a_value_takes_its_columns_type(given, column, value):
    found = one(**{column: given})[column]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("column", "value", "reason"), [
    ("num_layers", 7.5, "is not a whole number"),
    ("num_samples", True, "is not a finite number"),
    ("num_samples", "7", "is not a finite number"),
    ("num_samples", math.inf, "is not a finite number"),
    ("num_layers", 1e30, "is not a whole number"),
    ("num_samples", -1, "must not be negative"),
    ("train_tokens", -5, "must be above 0"),
    ("val_ppl", 0.99, "must be at least 1"),
    ("train_ppl", 0.0, "must be at least 1"),
    ("val_loss", -0.1, "must not be negative"),
    ("val_loss", "low", "is not a finite number"),
    ("val_ppl", "low", "is not a finite number"),
    ("cvfp_loss", math.nan, "is not a finite number"),
    ("cvfp_loss", -0.1, "must not be negative"),
    ("epochs", -1, "must not be negative"),
    ("val_er", 81.25, "must be a fraction from 0 to 1"),
    ("val_acc", -0.1, "must be a fraction from 0 to 1"),
    ("convergence_rate", 1.01, "must be a fraction from 0 to 1"),
    ("phase1_censored", 1, "is not true or false"),
    ("status", "fine", "is not one of ok, diverged, failed, interrupted"),
    ("run_id", "", "is missing"),
    ("experiment", None, "is missing"),
])
def test_a_value_that_is_none_of_its_columns_is_rejected(column, value, reason):
    assert rejection(**{column: value}) == (column, reason)


@pytest.mark.parametrize("column", records.REQUIRED)
def test_a_frame_without_a_required_column_has_no_records(column):
    made = conform(pl.DataFrame([ROW]).drop(column))
    assert made.records.is_empty()
    assert [(each.column, each.reason) for each in made.rejected] == [(column, "is missing")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", ["val_ppl", "train_ppl", "val_loss", "train_loss", "val_bpb"])
def test_a_perplexity_that_is_not_finite_makes_a_diverged_record_without_it(column, value):
    row = one(**{column: value})
    assert (row[column], row["status"]) == (None, "diverged")
    assert row["reason"] == f"{column} is {value}"


def test_a_failure_with_an_infinite_perplexity_stays_a_failure():
    row = one(val_ppl=math.inf, status="failed", reason="out of memory")
    assert (row["val_ppl"], row["status"], row["reason"]) == (None, "failed", "out of memory")


def test_columns_the_schema_does_not_know_are_kept_with_their_types():
    loose = pl.DataFrame({**{name: [value] for name, value in ROW.items()}, "lab": ["north"], "dropout": [0.1]})
    made = conform(loose).records
    assert made.columns == [*SCHEMA, "lab", "dropout"]
    assert made.schema["dropout"] == pl.Float64
    assert made.row(0, named=True)["lab"] == "north"


def test_rejected_rows_are_named_by_their_number_and_the_others_go_through():
    made = conform(pl.DataFrame([
        ROW | {"run_id": "a"}, ROW | {"run_id": "b", "val_acc": 7.0}, ROW | {"run_id": "c"}, ROW | {"run_id": None},
    ]))
    assert made.records["run_id"].to_list() == ["a", "c"]
    assert [(each.row, each.column, each.value) for each in made.rejected] == [(1, "val_acc", 7.0), (3, "run_id", None)]


def test_an_empty_frame_conforms():
    made = conform(pl.DataFrame(schema={"run_id": pl.String}))
    assert made.records.schema == SCHEMA
    assert made.records.is_empty()
    assert made.rejected == ()


def test_every_column_has_a_meaning():
    for column in fields(Record):
        assert column.metadata["meaning"], column.name
        assert "unit" in column.metadata, column.name


def test_a_series_is_one_experiment_and_variant_in_order_of_tokens_then_seed():
    made = frame([
        Record(run_id=f"{experiment}{variant}{tokens}{seed}", experiment=experiment, variant=variant,
               train_tokens=tokens, seed=seed)
        for tokens in (None, 20, 10) for seed in (2, 1) for experiment in "ba" for variant in ("2L", "1L")
    ])
    groups = records.series(made)
    assert [(group["experiment"][0], group["variant"][0]) for group in groups] == [
        ("b", "2L"), ("b", "1L"), ("a", "2L"), ("a", "1L"),
    ]
    for group in groups:
        assert group.select("train_tokens", "seed").rows() == [(10, 1), (10, 2), (20, 1), (20, 2), (None, 1), (None, 2)]
