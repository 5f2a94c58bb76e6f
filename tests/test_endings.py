"""What ends Phase 1, and which contexts Phase 2 then takes."""

from dataclasses import asdict

import pytest

import made_grids
import made_plugins
from cvfp_core.protocol.checkpoint import DISTURBED
from cvfp_core.protocol.ending import Ender
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry.kinds import CONVERGED, Iteration
from cvfp_core.schema import store
from cvfp_core.schema.settings import Phase1Settings, Settings, by_name
from cvfp_objectives import cvfp_endings
from made_runs import RESIDUAL, made_cell, made_corpus

ALL = {each.name: each for each in cvfp_endings()}
NEVER = {"convergence_threshold": 1e-12}
"""Phase-1 settings under which nothing converges."""


def run(name="converged", **phase1):
    """(record, Val ER by iteration) of a made cell whose Phase 1 ends so; options of the ending in `ending`."""
    given = phase1.pop("ending", {})
    ender = Ender(ALL[name], {option.name: option.default for option in ALL[name].options} | given)
    cell = made_cell(phase1={"learning_rate": 0.1, **NEVER, **phase1})
    result = run_cell(cell, RESIDUAL, made_corpus(), lambda _event: None, ender=ender)
    return result.record, {each.step: each.value for each in result.curves if each.metric == "val_er"}


def same(record):
    """What a record measured, but for its cost and how many iterations there were."""
    left_out = (*DISTURBED, "phase1_iterations", "phase1_censored", "context_iteration", "convergence_rate",
                "cvfp_loss", "diversity_loss", "objective_loss", "flops", "run_id", "settings")
    return {name: value for name, value in asdict(record).items() if name not in left_out}


def iterations(*ranks, first=2):
    """Iterations with these Val ER; None: not measured."""
    return [Iteration(iteration=i, val_er=rank) for i, rank in enumerate(ranks, first)]


@pytest.mark.parametrize(("ranks", "patience", "ends"), [
    ((0.5,), 1, False), ((0.5, 0.6), 1, False), ((0.5, 0.6, 0.6), 1, True), ((0.5, 0.6, 0.55), 2, False),
    ((0.5, 0.6, 0.55, 0.58), 2, True), ((0.5, 0.6, 0.55, 0.61), 2, False), ((0.6, 0.5, 0.55), 1, True),
])
def test_early_stopping_waits_for_as_many_checks_without_a_better_rank_as_it_is_patient(ranks, patience, ends):
    options = {"every": 1, "patience": patience, "contexts": "best"}
    assert ALL["val-er"].ends(iterations(*ranks), Phase1Settings(), options) is ends
    seen = [rank for rank in ranks if rank is not None]
    assert ALL["val-er"].keeps(iterations(*ranks), options) is (seen[-1] > max(seen[:-1], default=0))


def test_ranks_measured_for_a_stop_rule_between_checks_do_not_count():
    options = {"every": 5, "patience": 1, "contexts": "best"}
    between = iterations(None, 0.9, None, 0.5, 0.4)
    assert not ALL["val-er"].ends(between, Phase1Settings(), options)
    assert not ALL["val-er"].keeps(between, options)
    assert ALL["val-er"].ends([*between, *iterations(None, None, 0.4, 0.45, first=7)], Phase1Settings(), options)


def test_phase2_takes_the_best_contexts_as_if_phase1_had_ended_there():
    """A run of as many iterations as the best check is of, by `fixed`, is the outside truth."""
    _, ranks = run("val-er", max_iterations=14, ending={"every": 2, "patience": 99})
    assert list(ranks) == list(range(2, 15, 2))
    checks = list(ranks.values())
    last = next(i for i in range(1, len(checks)) if checks[i] <= max(checks[:i]))
    best = 2 * (checks.index(max(checks[: last + 1])) + 1)
    early, seen = run("val-er", max_iterations=14, ending={"every": 2})
    assert list(seen) == list(ranks)[: last + 1]
    assert (early.phase1_iterations, early.context_iteration) == (2 * (last + 1), best)
    assert early.val_er == ranks[best]
    assert same(early) == same(run("fixed", max_iterations=best)[0])
    final, _ = run("val-er", max_iterations=14, ending={"every": 2, "contexts": "last"})
    assert final.context_iteration is None
    assert same(final) == same(run("fixed", max_iterations=2 * (last + 1))[0])


@pytest.mark.parametrize("name", ALL)
def test_a_run_is_marked_as_cut_short_where_its_contexts_had_not_converged_whatever_ended_it(name):
    given = {"ending": {"every": 2} if name == "val-er" else {}, "max_iterations": 7}
    assert run(name, **given)[0].phase1_censored is True
    settled, _ = run(name, convergence_threshold=1e9, **given)
    assert settled.phase1_censored is False
    assert name != "converged" or settled.phase1_iterations == 5


def test_the_published_ending_does_not_enter_settings_and_another_does():
    assert Phase1Settings().ending == CONVERGED.name
    assert "ending" not in Settings().as_dict()["phase1"]
    assert by_name(Settings().as_dict())["phase1.ending"] == "converged"
    other = Settings(phase1=Phase1Settings(ending="val-er"), ending={"every": 5}).as_dict()
    assert by_name(other)["phase1.ending"] == "val-er, every = 5"
    assert made_cell(phase1={"ending": "fixed"}).run_id != made_cell().run_id


STRANGERS = """
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ending

@hookimpl
def cvfp_endings():
    yield Ending(name="third", title="", ends=lambda seen, *_: seen[-1].iteration == 3)
    yield Ending(name="broken", title="", ends=lambda *_: 1 / 0)
    yield Ending(name="mute", title="", ends=lambda *_: None)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    with made_plugins.stranger(tmp_path, monkeypatch, STRANGERS) as folder:
        yield folder


def rows(place, name, *given, code=0):
    """(records, what was said) of a run by that ending."""
    done = made_grids.in_process("run", "--name", name, "--set", f"phase1.ending={name}", *given,
                                 *made_grids.options(place, samples="4"), folder=place, code=code)
    return store.read(place / "runs" / name).to_dicts() if code != 2 else [], done.stdout + done.stderr


def test_a_strangers_ending_goes_through_run_and_record(place):
    ((row,), _) = rows(place, "third")
    assert (row["status"], row["ending"], row["phase1_iterations"], row["phase1_censored"]) == ("ok", "third", 3, True)
    assert row["ending_source"] == "made-stranger 1.2.3"
    assert '"ending": "third"' in row["settings"]
    assert row["val_ppl"] > 1


@pytest.mark.parametrize(("name", "why"), [
    ("broken", "ZeroDivisionError: division by zero"), ("mute", "its 'ends' must return True or False, not None"),
])
def test_an_ending_that_fails_costs_the_cell_and_says_whose_it_is(name, why, place):
    ((row,), _) = rows(place, name, code=3)
    assert row["status"] == "failed"
    assert row["reason"].startswith(f"ending '{name}' of plugin 'stranger' (made-stranger 1.2.3) failed: {why}")


@pytest.mark.parametrize(("name", "given", "line"), [
    ("val-re", (), "unknown ending 'val-re'; did you mean 'val-er'?"),
    ("val-er", ("--set", "ending.evry=2"), "unknown key 'ending.evry'; did you mean 'every'?"),
    ("val-er", ("--set", "ending.every=0"), "ending.every must be at least 1, not 0"),
    ("val-er", ("--set", "ending.contexts=first"), "ending.contexts must be one of best, last"),
    ("val-er", ("--set", "ending=fixed"), "say phase1.ending = \"fixed\""),
])
def test_what_is_asked_wrongly_is_one_line(name, given, line, place):
    (said,) = rows(place, name, *given, code=2)[1].splitlines()
    assert line in said


def test_the_time_of_an_iteration_is_the_median_and_of_a_control_without_any_there_is_none():
    record, _ = run(max_iterations=6)
    assert 0 < record.seconds_iteration < record.seconds_phase1
    assert run(max_iterations=6, mode="zero-context")[0].seconds_iteration is None
