"""Quantities: one declaration a column, and what follows from it; what follows from other quantities."""

import math
import re
from dataclasses import fields
from itertools import pairwise

import polars as pl
import pytest

from cvfp_core.ingesting.aliases import Names, _key
from cvfp_core.schema import quantities, records
from cvfp_core.schema.quantities import QUANTITIES, Follows, Quantity, Record, of
from cvfp_core.schema.records import SCHEMA, conform, derive, plain
from cvfp_core.schema.settings import Settings

ROW = {"run_id": "a-1", "experiment": "a"}
OWN = {"phases": 2, "params_phase1": 600.0, "params_phase2": 400.0, "train_tokens": 2000.0, "epochs": 3.0}


def one(**values):
    (row,) = conform(pl.DataFrame([ROW | values], strict=False)).records.to_dicts()
    return row


def test_a_field_of_the_record_is_all_there_is_to_a_column():
    assert list(QUANTITIES) == list(SCHEMA) == [each.name for each in fields(Record)]
    for name, quantity in QUANTITIES.items():
        assert quantity.meaning, name
        assert SCHEMA[name] == records._DTYPES[quantity.dtype]


def test_an_undeclared_name_is_a_metric_without_limits_fitted_in_logarithms():
    assert of("loss/test") == Quantity(name="loss/test", kind="metric", scale="log")
    mine = Quantity(name="gate", kind="setting")
    assert of("gate", {"gate": mine}) is mine
    assert of("val_ppl", {"val_ppl": mine}) is QUANTITIES["val_ppl"]


@pytest.mark.parametrize("name", [name for name, each in QUANTITIES.items() if each.kind == "size"])
def test_sizes_that_count_data_parameters_or_compute_are_of_any_magnitude(name):
    if QUANTITIES[name].dtype == "int":  # of the architecture: whole numbers
        assert name in {"num_layers", "context_dim", "embed_dim", "num_input_tokens", "num_experts", "vocab_size",
                        "val_tokens"}
        return
    assert [one(**{name: value})[name] for value in (0.5, 3, 2e19, 10**25)] == [0.5, 3.0, 2e19, 1e25]


def test_no_alias_names_two_quantities_and_each_is_found_by_it():
    called = {(_key(each), quantity.name) for quantity in QUANTITIES.values()
              for each in (quantity.name, *quantity.aliases)}
    assert len(called) == len({key for key, _ in called})
    for quantity in QUANTITIES.values():
        for alias in quantity.aliases:
            assert Names({}).meaning(alias).quantity is quantity


def test_a_percent_sign_stands_at_fractions_alone():
    assert {name for name, each in QUANTITIES.items() if "%" in each.heading} == {
        "convergence_rate", "train_er", "val_er", "val_acc"}
    for name in ("convergence_rate", "train_er", "val_er", "val_acc"):
        assert (QUANTITIES[name].minimum, QUANTITIES[name].maximum) == (0, 1)


@pytest.mark.parametrize(("facts", "said", "values"), [
    ({"minimum": 0}, "not be negative", (0, -1)), ({"minimum": 0, "exclusive": True}, "be above 0", (0.1, 0)),
    ({"minimum": 1}, "be at least 1", (1, 0.9)), ({"maximum": 5}, "be at most 5", (5, 6)),
    ({"minimum": 0, "maximum": 1, "unit": "fraction"}, "be a fraction from 0 to 1", (1, 1.1)),
    ({"minimum": -2, "maximum": 1}, "be from -2 to 1", (-2, -3)), ({}, "", (-1e300, math.nan)),
])
def test_a_range_in_words_at_the_gate_and_for_one_value_is_one(facts, said, values):
    quantity = Quantity(name="gate", **facts)
    assert quantity.range == said
    made = conform(pl.DataFrame([ROW | {"gate": float(value)} for value in values]), {"gate": quantity})
    assert [quantity.allows(value) for value in values] == [True, False]
    assert [each.row for each in made.rejected] == [1]
    assert made.rejected[0].reason in (f"must {said}", "is not a finite number")


@pytest.mark.parametrize(("name", "facts", "message"), [
    ("_x", {}, "does not begin with '_'"), ("", {}, "a text of one line"), ("a\nb", {}, "a text of one line"),
    ("x", {"minimum": 2, "maximum": 1}, "minimum 2 is not below maximum 1"),
])
def test_a_declaration_that_cannot_be_meant_is_refused(name, facts, message):
    with pytest.raises(ValueError, match=message):
        Quantity(name=name, **facts)


def test_a_perplexity_and_a_loss_follow_from_each_other_and_say_so():
    assert one(val_ppl=20.0)["val_loss"] == pytest.approx(2.995732273553991)
    row = one(val_loss=3.0, train_loss=2.0)
    assert (row["val_ppl"], row["train_ppl"]) == (pytest.approx(20.085536923187668), pytest.approx(7.38905609893065))
    assert row["derived"] == "train_ppl = exp(train_loss); val_ppl = exp(val_loss)"


def test_what_was_measured_is_not_derived():
    row = one(val_loss=3.0, val_ppl=25.0)
    assert (row["val_loss"], row["val_ppl"], row["derived"]) == (3.0, 25.0, None)


def test_a_loss_whose_perplexity_is_no_number_has_none():
    row = one(val_loss=800.0)
    assert (row["val_ppl"], row["derived"], row["status"]) == (None, None, "ok")


def test_an_own_run_says_what_it_trained_and_saw():
    row = one(**OWN)
    assert (row["params"], row["tokens_seen"], row["unique_tokens"]) == (1000.0, 6000.0, 2000.0)
    assert row["derived"] == ("tokens_seen = train_tokens * epochs; unique_tokens = train_tokens; "
                              "params = params_phase1 + params_phase2")


SIX = {"flops_convention": "6ND"}


@pytest.mark.parametrize(("given", "name", "value"), [
    (SIX | {"params": 1e9, "train_tokens": 2e10}, "flops", 1.2e20),
    (SIX | {"params": 1e9, "train_tokens": 2e10, "tokens_seen": 6e10}, "flops", 3.6e20),
    (SIX | {"flops": 1.2e20, "params": 1e9}, "train_tokens", 2e10),
    (SIX | {"flops": 1.2e20, "train_tokens": 2e10}, "params", 1e9),
    ({"params": 1e9, "train_tokens": 2e10}, "flops", None),
    ({"flops": 1.2e20, "params": 1e9}, "train_tokens", None),
    (SIX | OWN, "flops", None),
    ({"flops_convention": "other", "params": 1e9, "train_tokens": 2e10}, "flops", None),
])
def test_flops_follow_where_the_source_says_6nd_and_never_with_phases(given, name, value):
    assert one(**given)[name] == (None if value is None else pytest.approx(value))


def test_a_quantity_of_a_plugin_follows_too():
    gate = Quantity(name="gate", follows=(Follows(expression="val_er / train_er"),), maximum=1)
    frame = conform(pl.DataFrame([ROW | {"val_er": 0.4, "train_er": 0.8, "gate": None},
                                  ROW | {"val_er": 0.8, "train_er": 0.4, "gate": None}],
                                 schema_overrides={"gate": pl.Float64})).records
    made = derive(frame, {"gate": gate})
    assert made["gate"].to_list() == [0.5, None]
    assert made["derived"].to_list() == ["gate = val_er / train_er", None]


def test_whole_sizes_are_whole_numbers_in_plain_rows_and_others_are_as_they_are():
    frame = conform(pl.DataFrame([ROW | {"train_tokens": 2464.0, "epochs": 0.5, "flops": 5.76e23, "val_loss": 2.0}]))
    (row,) = plain(frame.records)
    assert [repr(row[name]) for name in ("train_tokens", "epochs", "flops", "val_loss")] == [
        "2464", "0.5", "5.76e+23", "2.0"]


def test_every_rule_reads_quantities_that_are_declared_and_is_no_circle_of_one():
    for name, quantity in QUANTITIES.items():
        for rule in quantity.follows:
            section, _, setting = rule.expression.partition(".")
            if setting:
                assert setting in Settings().as_dict()[section]
                continue
            words = set(re.findall(r"[a-z_]\w+", rule.expression)) - {"exp", "log"}
            assert words <= set(QUANTITIES) - {name}


def test_what_is_derived_stays_as_it_is_at_the_gate():
    made = conform(pl.DataFrame([ROW | OWN | {"val_ppl": 20.0}])).records
    assert all(left.equals(right) for left, right in pairwise([made, conform(made).records, derive(made)]))


def test_declarations_import_nothing_heavy():
    assert not {"polars", "numpy", "torch"} & set(vars(quantities))
