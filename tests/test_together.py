"""Many series at once against one after the other: the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from cvfp_core.fitting import fit_all, predict_all
from cvfp_core.fitting.auto import _automatic, candidates, choose_law
from cvfp_core.fitting.curves import Frame
from cvfp_core.fitting.points import by_group, weighted
from cvfp_core.fitting.run import grouped
from cvfp_core.fitting.search import _damped, _Local
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law, Parameter

SIZES = (np.geomspace(1e5, 1e7, 5), np.geomspace(1e5, 1e7, 4), np.geomspace(2e5, 3e7, 6))


def _records(count: int = 7, noise: float = 0.01) -> pl.DataFrame:
    """Series at three sets of sizes in turn, some with a floor, the last two with repeats."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        sizes = SIZES[index % 3]
        sizes = np.repeat(sizes, 2) if index >= count - 2 else sizes
        ppl = (40.0 * (index % 2) + 5e3 * sizes**-0.4) * np.exp(noise * rng.standard_normal(len(sizes)))
        rows += [{"run_id": f"{index}-{i}", "experiment": "e", "variant": f"s{index}", "train_tokens": size,
                  "val_ppl": value, "status": "ok"} for i, (size, value) in enumerate(zip(sizes, ppl, strict=True))]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("law", ["power-law", "saturating", "hill"])
def test_fits_of_many_series_have_the_bits_of_each_fitted_alone(law: str) -> None:
    records = _records()
    many = fit_all(records, [law])
    alone = [fit for series in records.partition_by("variant", maintain_order=True) for fit in fit_all(series, [law])]
    assert [fit.as_dict() for fit in many] == [fit.as_dict() for fit in alone]
    assert len({fit.rss for fit in many}) == len(many)


def test_forecasts_of_many_series_have_the_bits_of_each_forecast_alone() -> None:
    records = _records()
    many = predict_all(records, {"train_tokens": ["10x", 5e7]}, "saturating").predictions
    alone = [each for series in records.partition_by("variant", maintain_order=True)
             for each in predict_all(series, {"train_tokens": ["10x", 5e7]}, "saturating").predictions]
    assert [each.as_dict() for each in many] == [each.as_dict() for each in alone]
    assert sum(each.run_high is not None for each in many) >= 10


def test_surfaces_of_many_experiments_have_the_bits_of_each_alone() -> None:
    """The second has two runs off the law, the third bends away from it; the last is at other sizes."""
    frames = []
    for index, k in enumerate((6, 6, 6, 4)):
        n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e8, 1e10, k), np.geomspace(2e9, 2e11, k)))
        loss = (1.82 + 478 * n**-0.347 + 2143 * d**-0.367) * np.exp(
            0.002 * np.random.default_rng(2 + index).standard_normal(k * k))
        loss[[3, 11]] *= 1.2 if index == 1 else 1.0
        loss *= 1 + (0.05 * np.maximum(0, np.log10(n * d / 3e19)) if index == 2 else 0)
        frames.append(pl.DataFrame({"experiment": f"e{index}", "variant": "v", "params": n, "train_tokens": d,
                                    "val_loss": loss, "status": "ok"}))
    at = {"params": 3e10, "train_tokens": 6e11}

    def forecasts(records: pl.DataFrame) -> list[dict[str, Any]]:
        return [each.as_dict() for each in predict_all(records, at, "chinchilla", by=["experiment"]).predictions]

    many = forecasts(pl.concat(frames))
    assert many == [each for frame in frames for each in forecasts(frame)]
    said = [" ".join(each["warnings"]) for each in many]
    assert ["2 of 36 runs lie off" in words for words in said] == [False, True, False, False]
    assert ["times wider" in words for words in said] == [False, False, True, False]


def test_weights_marks_and_cautions_of_many_series_are_those_of_each_alone() -> None:
    """Weights are 1 on average in each series; repeats and runs cut short are counted in their own."""
    rng = np.random.default_rng(1)
    records = _records()
    sizes = records["train_tokens"].to_numpy()
    other = (records["variant"] == "s1").to_numpy()
    records = records.with_columns(
        counted=pl.Series(rng.uniform(0.5, 2.0, len(sizes)) * np.where(other, 100.0, 1.0)),
        unique_tokens=pl.Series(np.where(other, sizes / 2, sizes)),
        phase2_censored=pl.Series(other & (sizes < 1e6)))
    records = weighted(records, "counted")
    many = fit_all(records, ["saturating"])
    alone = [fit for series in records.partition_by("variant", maintain_order=True)
             for fit in fit_all(series, ["saturating"])]
    assert [fit.as_dict() for fit in many] == [fit.as_dict() for fit in alone]
    assert all(fit.points.weights.mean() == pytest.approx(1) for fit in many)
    assert ["unique_tokens differ" in fit.reason for fit in many] == [index == 1 for index in range(7)]
    assert [bool(fit.caveats) for fit in many] == [index == 1 for index in range(7)]


def test_forecasts_by_the_law_chosen_have_the_bits_of_each_series_alone_about_that_law() -> None:
    records, registry = _records(noise=0.03), installed()
    laws = [law for law in candidates(registry) if law.name in ("power-law", "saturating")]
    every, choice = grouped(records, laws[0], None, registry), choose_law(records, laws=laws, registry=registry)
    arguments = (choice, laws, {"train_tokens": ["10x"]}, registry)
    for prior in (False, True):
        options = {"prior": prior, "pool": False}
        many = _automatic(every, *arguments, telling=[True] * 7, **options).predictions
        alone = [each for points in every for each in _automatic([points], *arguments, telling=[True],
                                                                 **options).predictions]
        assert len({each.run_high for each in many}) == 7
        if prior:  # sums over a grid, whose order the library chooses
            ends = [np.array([[each.run_low, each.value, each.run_high] for each in made]) for made in (many, alone)]
            assert ends[0] == pytest.approx(ends[1], rel=1e-9)
        else:
            assert [each.as_dict() for each in many] == [each.as_dict() for each in alone]


def test_a_law_that_raises_at_one_series_fails_there_alone() -> None:
    def function(train_tokens: np.ndarray, A: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        if np.max(train_tokens) > 2e7:
            raise ValueError("too far")
        return A * train_tokens**alpha

    law = Law(name="narrow", title="", form="", function=function, linear=("A",),
              parameters=(Parameter(name="A", minimum=0), Parameter(name="alpha", minimum=-2, maximum=0)))
    fits = fit_all(_records(), [law])
    assert [fit.status == "failed" for fit in fits] == [False, False, True, False, False, True, False]
    assert all("too far" in fit.reason for fit in fits if fit.status == "failed")


def test_a_step_that_is_singular_leaves_the_others_as_they_are() -> None:
    rng = np.random.default_rng(0)
    hessian = np.stack([np.diag([-1.0, 1.0]), np.array([[2.0, 1.0], [1.0, 3.0]])])  # the first is 0 with damping
    gauss = np.stack([np.diag([0.0, 1.0]), np.diag([2.0, 3.0])])
    frame = Frame(parameters=np.ones((2, 2)), centre=np.ones((2, 2)), drift=np.zeros((2, 2, 2)))
    local = _Local(frame=frame, value=np.ones(2), gradient=rng.standard_normal((2, 2)), hessian=hessian, gauss=gauss)
    held, damping = np.zeros((2, 2), dtype=bool), np.full(2, 1e-3)
    row = np.array([1])
    alone = _damped(hessian[row], local.rows(row), held[row], damping[row])
    assert (_damped(hessian, local, held, damping)[row] == alone).all()


def test_what_is_computed_together_comes_back_in_the_order_asked_for() -> None:
    calls: list[list[int]] = []

    def double(rows: list[int]) -> list[int]:
        calls.append(rows)
        return [2 * row for row in rows]

    assert by_group([3, 1, 4, 1, 5], lambda row: row % 2, double) == [6, 2, 8, 2, 10]
    assert calls == [[3, 1, 1, 5], [4]]
