"""Objectives of Phase 1: each against a plain computation, in whole runs, and what a wrong one comes to."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import linalg, special, stats

import cvfp_objectives
import made_grids
import made_plugins
from cvfp_core.errors import PluginError
from cvfp_core.protocol import phase1 as phase1s
from cvfp_core.protocol.objective import Term
from cvfp_core.registry.kinds import MCDL, Objective
from cvfp_core.running import run as running
from cvfp_core.schema import store
from cvfp_core.schema.settings import Phase1Settings, Settings, Shortcuts
from cvfp_core.testing import check_light, check_objective
from cvfp_objectives import pairs
from cvfp_objectives.spectra import singular_values
from made_runs import made_cell, made_model, made_windows, phase1

ALL = {each.name: each for each in cvfp_objectives.cvfp_objectives()}


# ---- each as its formula says, with numpy and scipy alone, pair by pair


def cov(c):
    return np.cov(c, rowvar=False).reshape(c.shape[1], -1)


def cosine(a, b):
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def odcm(c, _, options):
    s, d = cov(c), c.shape[1]
    missing = [max(0.0, 1 - math.sqrt(s[j, j] + 1e-4)) for j in range(d)]
    return sum(missing) / d + options["covariance_weight"] * sum(
        s[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


def due(c, *_):
    return -stats.entropy(np.abs(c).mean(axis=0)) / math.log(c.shape[1])


def udel(c, *_):
    return np.var(np.std(c, axis=0, ddof=1), ddof=1) - np.std(c, axis=0, ddof=1).mean()


def unif(c, _, options):
    z = [row / np.sqrt(row @ row) for row in c]
    kernel = [math.exp(-options["sharpness"] * sum((a - b) ** 2))
              for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
    return math.log(sum(kernel) / len(kernel))


def infonce(c, _, options):
    losses = []
    for a in c:
        logits = [cosine(a, b) / options["temperature"] for b in c]
        losses.append(special.logsumexp(logits) - cosine(a, a) / options["temperature"])
    return sum(losses) / len(losses)


def wmse(c, _, options):
    root = linalg.inv(linalg.sqrtm(cov(c) + options["epsilon"] * np.eye(c.shape[1])))
    return np.mean(np.square(root @ cov(c) @ root - np.eye(c.shape[1])))


def hsic(c, *_):
    """The biased estimate's trace, over (B - 1)^2, of every two dimensions: linear kernels, centred. Gretton 2005."""
    count, d = c.shape
    centre = np.eye(count) - 1 / count
    each = [np.trace(np.outer(c[:, i], c[:, i]) @ centre @ np.outer(c[:, j], c[:, j]) @ centre) / (count - 1) ** 2
            for i in range(d) for j in range(d) if i != j]
    return sum(each) / len(each)


PLAIN = {
    "mcdl": lambda c, *_: -np.linalg.norm(c - c.mean(axis=0)) / len(c),
    "odcm": odcm,
    "sdl": lambda c, *_: -stats.entropy(linalg.svdvals(c)),
    "nuc": lambda c, *_: -linalg.svdvals(c - c.mean(axis=0)).sum() / len(c),
    "ctm": lambda c, *_: -np.trace(cov(c)) / c.shape[1],
    "due": due, "udel": udel, "unif": unif, "infonce": infonce,
    "decorr": lambda c, *_: np.mean(np.square(np.corrcoef(c, rowvar=False) - np.eye(c.shape[1]))),
    "wmse": wmse, "hsic": hsic,
    "oacd": lambda c, _, options: (-np.linalg.norm(c - c.mean(axis=0)) / len(c)
                                   + options["mean_weight"] * sum(c.mean(axis=0) ** 2)),
}


@pytest.mark.parametrize("name", ALL)
def test_an_objective_is_what_its_formula_says(name, monkeypatch):
    """Loss to 1e-6, gradient, blocked form, what it is unmoved by, and degenerate contexts; pairs in chunks of two."""
    monkeypatch.setattr(pairs, "_PAIRS", 50)
    check_objective(ALL[name], PLAIN[name])


@pytest.mark.parametrize("name", [each.name for each in ALL.values() if each.options])
def test_its_options_do_what_its_formula_says(name):
    check_objective(ALL[name], PLAIN[name], options={option.name: 0.37 for option in ALL[name].options})


def test_the_plugin_is_light():
    check_light(cvfp_objectives)


def test_singular_values_are_as_exact_as_the_module_says():
    """A matrix whose singular values go from 1 down to 1e-9: within 5e-14 (largest / s)^2, none below 3e-7."""
    wanted = np.geomspace(1, 1e-9, 28)
    left, right = (linalg.qr(np.random.default_rng(seed).normal(size=(28, 28)))[0] for seed in (1, 2))
    found = singular_values(torch.from_numpy(left * wanted @ right)).numpy()[::-1]
    assert (wanted > 3.5e-7).sum() <= len(found) <= (wanted > 2.5e-7).sum()
    assert np.all(np.abs(found / wanted[: len(found)] - 1) < 5e-14 / wanted[: len(found)] ** 2 + 1e-12)


def test_chunks_of_pairs_change_nothing(monkeypatch):
    contexts = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    for loss, options in ((pairs.unif, {"sharpness": 2.0}), (pairs.infonce, {"temperature": 0.1})):
        results = []
        for size in (10_000, 70):
            monkeypatch.setattr(pairs, "_PAIRS", size)
            value = loss(contexts, None, options)
            results.append((value.item(), torch.autograd.grad(value, contexts)[0]))
        assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
        torch.testing.assert_close(results[0][1], results[1][1])


# ---- in Phase 1


def learned(name, *, shortcuts=None, **settings):
    objective = ALL[name]
    term = Term(objective, {option.name: option.default for option in objective.options})
    model = made_model(embeddings=torch.randn(30, 8, generator=torch.Generator().manual_seed(9)))
    _, sweeps = phase1(model, made_windows(90), 12, shortcuts=shortcuts or Shortcuts(), term=term,
                       **{"batch_tokens": 40, "max_iterations": 6, "context_noise": 0.0, **settings})
    return [sweep.loss for sweep in sweeps], [sweep.diversity_loss for sweep in sweeps]


@pytest.mark.parametrize("name", ALL)
def test_a_sweep_by_blocks_is_the_plain_one(name):
    """Autograd over blocks that are joined, or the blocked form, against autograd through the whole batch."""
    losses, terms = learned(name, shortcuts=Shortcuts(rows_at_once=7))
    plain, plain_terms = learned(name, shortcuts=Shortcuts.none())
    assert losses == pytest.approx(plain, rel=1e-4, abs=1e-5)
    assert terms == pytest.approx(plain_terms, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_phase1_lowers_the_term_where_it_is_all_of_the_loss(name):
    """Weight 1 trains without the fixed point, and the same steps without training do not lower it as far."""
    losses, terms = learned(name, dist_reg_weight=1.0, max_iterations=12)
    untrained, _ = learned(name, dist_reg_weight=1.0, max_iterations=12, mode="untrained")
    assert losses == pytest.approx(terms)
    assert losses[-1] < untrained[-1]


# ---- run ids


def test_the_published_objective_does_not_enter_run_ids_and_another_does():
    assert "objective" not in Settings().as_dict()["phase1"]
    assert set(Settings().as_dict()) == {"phase1", "phase2", "model", "precision"}
    assert made_cell(phase1={"objective": "odcm"}).run_id != made_cell().run_id
    cell = made_cell(phase1={"objective": "oacd"})
    assert cell.settings.as_dict()["phase1"]["objective"] == "oacd"


def test_phase1_settings_name_the_published_objective():
    assert Phase1Settings().objective == MCDL.name == "mcdl"


# ---- what is wrong


WRONG = {
    "vector": (lambda c, *_: c.mean(dim=1), "its loss must be one number, not a tensor of shape (40,)"),
    "number": (lambda *_: 1.0, "its loss must be a tensor of one number, not float"),
    "none": (lambda *_: {}, "its loss must be one number, or several by name, not none"),
    "detached": (lambda c, *_: c.detach().mean(), "its loss has no gradient"),
    "whole": (lambda c, *_: c.detach().argmax(), "not a tensor of shape () and torch.int64"),
    "name": (lambda c, *_: {"loss": c.mean()}, "a part of its loss is called 'loss'"),
    "device": (lambda c, *_: c.mean().to("meta"), "its loss is on meta, the contexts are on cpu"),
    "raises": (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("shortcuts", [Shortcuts(), Shortcuts.none()], ids=["blocks", "plain"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_loss_is_said_in_one_line_with_its_plugin(case, shortcuts):
    loss, words = WRONG[case]
    term = Term(Objective(name="odd", title="", form="", loss=loss), {}, "objective 'odd' of plugin 'mine' (mine 1.2)")
    with pytest.raises(PluginError) as error:
        phase1(made_model(), made_windows(90), 12, batch_tokens=40, term=term, shortcuts=shortcuts)
    assert str(error.value).startswith("objective 'odd' of plugin 'mine' (mine 1.2) failed: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("loss", "words"), [
    (lambda c, *_: c.mean() * float("nan"), "phase 1 loss is nan at iteration 2: objective 'odd' is nan"),
    (lambda c, *_: (c - c.detach()).square().sum().sqrt(), "the gradient of objective 'odd' is not finite"),
])
def test_what_is_not_finite_is_a_divergence_that_names_the_objective(loss, words):
    term = Term(Objective(name="odd", title="", form="", loss=loss))
    with pytest.raises(phase1s.Diverged) as error:
        phase1(made_model(), made_windows(90), 12, term=term)
    assert words in str(error.value)


def test_contexts_that_are_not_finite_are_not_the_objectives_fault():
    """An eigenvalue of NaN raises."""
    model = made_model()
    with torch.no_grad():
        next(iter(model.phase1_parameters())).fill_(float("nan"))
    with pytest.raises(phase1s.Diverged, match="contexts are not finite"):
        phase1(model, made_windows(90), 12, term=Term(ALL["sdl"]))


# ---- a stranger's, through `cvfp run`


STRANGERS = """
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Objective, Option

def far(contexts, previous, options):
    return {"near": -options["much"] * contexts.var(dim=0, correction=0).mean(), "far": contexts.mean() ** 2}

@hookimpl
def cvfp_objectives():
    yield Objective(name="far", title="", form="", loss=far, options=(Option(name="much", default=1.0, help=""),))
    yield Objective(name="broken", title="", form="", loss=lambda c, *_: c.mean() * float("nan"))
    yield Objective(name="vector", title="", form="", loss=lambda c, *_: c.mean(dim=0) if len(c) > 200 else c.mean())
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    with made_plugins.stranger(tmp_path, monkeypatch, STRANGERS) as folder:
        yield folder


def rows(place, *given, name, code=0):
    """The records of a run, and all it said."""
    done = made_grids.in_process("run", "--name", name, *given, *made_grids.options(place), folder=place, code=code)
    return store.read(place / "runs" / name).sort("num_samples").to_dicts(), done.stdout + done.stderr


def test_a_strangers_objective_goes_through_run_and_record_with_its_parts_and_source(place):
    made, _ = rows(place, "--set", "phase1.objective=far", "--set", "objective.much=2.5", name="far")
    for row in made:
        assert (row["status"], row["objective"], row["diversity_loss"]) == ("ok", "far", None)
        assert row["objective_loss"] == pytest.approx(row["objective_near"] + row["objective_far"])
        assert row["objective_near"] < 0 < row["objective_far"]
        assert row["objective_source"] == "made-stranger 1.2.3"
        assert '"objective": {"much": 2.5}' in row["settings"]
    curves = store.read_curves(place / "runs" / "far")
    assert {"loss", "cvfp_loss", "objective_loss", "objective_near", "objective_far"} <= set(curves["metric"])
    assert "diversity_loss" not in set(curves["metric"])


def test_a_cell_whose_objective_fails_costs_that_cell_alone(place):
    """A vector comes back from batches of more than 200 tokens, which the smallest sample does not have."""
    made, said = rows(place, "--set", "phase1.objective=vector", name="vector", code=3)
    assert [row["status"] for row in made] == ["ok", "failed", "failed"]
    assert made[1]["reason"].startswith(
        "objective 'vector' of plugin 'stranger' (made-stranger 1.2.3) failed: TypeError: its loss must be one number")
    assert made[1]["objective_source"] == "made-stranger 1.2.3"
    made, said = rows(place, "--set", "phase1.objective=broken", name="broken", code=3)
    assert [row["status"] for row in made] == ["diverged"] * 3
    assert made[0]["reason"] == ("phase 1 loss is nan at iteration 2: objective 'broken' of plugin 'stranger' "
                                 "(made-stranger 1.2.3) is nan")
    assert "diverged" in said


@pytest.mark.parametrize(("given", "line"), [
    ("phase1.objective=fer", "unknown objective 'fer'; did you mean 'far'?"),
    ("objective=far", 'objective has the options of the objective, which phase1.objective names: say '
                      'phase1.objective = "far"'),
    ("objective.mich=1", "unknown key 'objective.mich'; did you mean 'much'?; known: much"),
    ("objective.much=high", 'objective.much must be a number, not "high"'),
])
def test_what_is_asked_wrongly_is_one_line(given, line, place):
    done = made_grids.in_process("run", "--set", "phase1.objective=far", "--set", given, *made_grids.options(place),
                                 folder=place, code=2)
    (said,) = done.stderr.splitlines()
    assert line in said


def test_runs_of_two_objectives_are_not_mixed_in_one_experiment_either_way_round(place):
    rows(place, "--set", "phase1.objective=far", name="one")
    done = made_grids.in_process("run", "--name", "one", *made_grids.options(place), folder=place, code=2)
    assert "phase1.objective is far, much = 1.0 there and mcdl here" in done.stderr
    rows(place, name="two")
    done = made_grids.in_process("run", "--name", "two", "--set", "phase1.objective=far", *made_grids.options(place),
                                 folder=place, code=2)
    assert "phase1.objective is mcdl there and far, much = 1.0 here" in done.stderr


def test_the_published_objective_needs_no_plugin(place, monkeypatch):
    monkeypatch.setenv("CVFP_DISABLE", "objectives")
    made, _ = rows(place, name="published")
    assert {(row["status"], row["objective"], row["objective_source"]) for row in made} == {("ok", "mcdl", None)}
    assert all(row["objective_loss"] == row["diversity_loss"] < 0 for row in made)


def test_an_objective_that_takes_most_of_an_iteration_is_warned_of_once_with_its_cost(monkeypatch):
    """Time as a clock gives it that stands still but for the objective."""
    from cvfp_core.protocol import objective as objectives

    now = [0.0]
    monkeypatch.setattr(objectives.time, "perf_counter", lambda: now[0])

    def dear(contexts, *_):
        now[0] += 2.0
        return contexts.mean()

    term = Term(Objective(name="dear", title="", form="", loss=dear, cost="B^2 d"))
    phase1(made_model(), made_windows(40), 12, max_iterations=2, term=term)
    assert term.warning(2.5) == (
        "objective 'dear' takes 2 s of an iteration's 2.5 s: its cost grows as B^2 d, B tokens of a batch and d the "
        "width of a context; a smaller phase1.batch_tokens makes it cheaper")
    assert term.warning(2.5) is None


# ---- several in one run file


STUDY = """
name = "study"
variants = ["1L_16d_1tok", "transformer_1L_16d_4tok"]
samples = [4]
controls = true
corpus = {{name = "text", path = "{corpus}", vocab_size = 300, embed_dim = 16}}
phase1 = {{max_iterations = 3}}
phase2 = {{epochs = 1}}
matrix = {{objective = ["mcdl", "unif", "odcm"]}}
objective = {{sharpness = 3.0}}
"""


@pytest.fixture
def study(place):
    file = place / "study.toml"
    file.write_text(STUDY.format(corpus=(place / "corpus.txt").as_posix()))
    return file


def test_a_run_file_of_several_objectives_makes_an_experiment_of_each_and_the_controls_once(study):
    done = made_grids.in_process("run", study, "--jobs", 1, folder=study.parent)
    assert "1L_16d_1tok, unif, 4 samples: phase 1: " in done.stderr
    made = store.read(study.parent / "runs" / "study")
    assert set(made.select("experiment", "variant", "phase1_mode", "objective").rows()) == {
        ("study-mcdl", "1L_16d_1tok", "trained", "mcdl"), ("study-unif", "1L_16d_1tok", "trained", "unif"),
        ("study-odcm", "1L_16d_1tok", "trained", "odcm"), ("study-mcdl", "1L_16d_1tok", "untrained", "mcdl"),
        ("study-mcdl", "1L_16d_1tok", "zero-context", None), ("study-mcdl", "transformer_1L_16d_4tok", None, None)}
    assert made.height == 6
    options = {row["experiment"]: json.loads(row["settings"]).get("objective") for row in made.to_dicts()}
    assert options == {"study-mcdl": None, "study-unif": {"sharpness": 3.0}, "study-odcm": {"covariance_weight": 0.04}}


def test_such_a_run_file_is_shown_as_one_that_gives_the_same_runs(study):
    shown = made_grids.in_process("run", study, "--show-config", folder=study.parent).stdout
    again = study.with_name("again.toml")
    again.write_text(shown)
    assert [[cell.run_id for cell in running.prepare(file).cells] for file in (study, again)] == [
        [cell.run_id for cell in running.prepare(study).cells]] * 2
    other = running.prepare(study, {"variants": ["1L_8d_1tok"]}).cells
    assert [cell.experiment for cell in other if cell.control is None] == ["study-mcdl", "study-unif", "study-odcm"]


@pytest.mark.parametrize(("given", "line"), [
    ("matrix.objective=['mcdl', 'unfi']", "unknown objective 'unfi'; did you mean 'unif'?"),
    ("matrix.objective=[]", "matrix.objective must be a list with at least 1 entry, not []"),
    ("phase1.objective=sdl", "matrix.objective names mcdl, unif, odcm and phase1.objective sdl: leave one"),
    ("objective.temperature=1.0", "unknown key 'objective.temperature'"),
    ("matrix.num_layers=[1]", "key 'matrix.context_dim' is missing"),
    ("phase1.dist_reg_weight=1.5", "phase1.dist_reg_weight must be from 0 to 1, not 1.5"),
])
def test_what_is_wrong_with_it_is_one_line(given, line, study):
    done = made_grids.in_process("run", study, "--set", given, folder=study.parent, code=2)
    (said,) = done.stderr.splitlines()
    assert line in said
