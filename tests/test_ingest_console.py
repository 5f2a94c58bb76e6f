"""Console logs of trainers, read by grammars: N, D, losses and steps of each, and what a grammar is."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cvfp_core.ingesting.grammars import Grammar
from cvfp_core.registry.kinds import Ingester
from cvfp_core.schema.found import Take
from ingesting import DATA, SHARED, lines_of, read, registry, rows, write

CONSOLE = DATA / "console"
CASES = SHARED.parent.parent / "cases" / "ingest" / "console"
READ = {
    # file: N, tokens, validation metric and its value, training loss, step, where it was taken, more
    "nanogpt.log": (10_650_000, 500 * 16_384, "val_loss", 1.7249, 1.5262, 500, "last, step 500",
                    {"num_layers": 6, "context_dim": 384, "vocab_size": 65, "learning_rate": 1e-3}),
    "build_nanogpt.log": (124_354_560 + 121_344, 250 * 524_288, "val_loss", 5.9002, 5.890417, 250, "last, step 250",
                          {"hellaswag": 0.2491, "learning_rate": 2.1063e-4}),
    "build_nanogpt_log.txt": (None, None, "val_loss", 5.9002, 5.890417, 250, "last, step 250", {"hellaswag": 0.2491}),
    "modded_nanogpt.txt": (None, None, "val_loss", 3.2798, None, 1770, "last, step 1770", {}),
    "nanochat.log": (135_267_480, 2520 * 524_288, "val_bpb", 0.860123, 3.912345, 2520, "last, step 2520",
                     {"params_non_embedding": 84_935_808, "core_metric": 0.1423, "vocab_size": 32_768,
                      "flops": 7.589069e8 * 2520 * 524_288}),
    "llm_c.log": (124_475_904, 18_865 * 524_288, "val_loss", 3.283377, 3.270912, 18_865, "last, step 18865",
                  {"num_layers": 12, "context_dim": 768, "learning_rate": 6e-4, "hellaswag": 0.306811}),
    "llm_c_main.log": (None, None, "val_loss", 3.2834, 3.2709, 18_865, "last, step 18865", {"hellaswag": 0.3068}),
    "megatron.log": (411_000_000, 512_000 * 1024, "val_loss", 3.409587, 3.402386, 1000, "last validation, step 1000",
                     {"num_layers": 24, "context_dim": 1024, "seed": 1234, "learning_rate": 1.5e-4}),
    "gpt_neox.log": (162_322_944, 1000 * 32 * 2048, "val_loss", 3.601234, 3.612345, 1000, "last, step 1000",
                     {"num_layers": 12, "context_dim": 768, "learning_rate": 6e-4}),
    "torchtitan.log": (6_163_712, 10 * 64 * 2048, "val_loss", 4.2345, 4.1234, 10, "last, step 10", {}),
    "olmo_core.log": (190_354_176, 524_288_000, "val_loss", 3.512, 3.401, 1000, "last, step 1000",
                      {"params_non_embedding": 113_283_840, "learning_rate": 1e-3}),
    "olmo.log": (1_176_764_416, 8_388_608, "eval/pile-validation/loss", 10.70, 10.73, 2, "last, step 2",
                 {"val_loss": None, "eval/c4_en-validation/loss": 10.74}),
    "composer.log": (125_311_488, 261_619_712, "val_loss", 4.0512, 4.1203, 500, "last, step 500",
                     {"num_layers": 12, "context_dim": 768, "vocab_size": 50_368, "learning_rate": 6e-4}),
    "hf_console.log": (None, None, "val_loss", 3.1512, 3.1023, 3, "last, step 3",
                       {"epochs": 1.0, "learning_rate": 4.9e-5, "train_loss_of_all_steps": 3.3}),
    "hf_console_5.log": (124_439_808, 59_350, "val_loss", 1.498, 1.431, 2, "last, step 2",
                         {"epochs": 2, "tokens_seen": 118_700}),
}


def _notes(path: Path, **asked: object) -> str:
    return "; ".join(read(path, **asked).notes)


# formats


@pytest.mark.parametrize("name", READ)
def test_a_console_log_is_a_run_with_its_size_tokens_and_losses(name: str) -> None:
    params, tokens, metric, value, train_loss, step, taken, more = READ[name]
    made = read(CONSOLE / name)
    (row,) = rows(made)
    assert (row["params"], row["train_tokens"], row[metric], row["train_loss"]) == (params, tokens, value, train_loss)
    assert (row["step"], row["taken_at"], row["run_id"]) == (step, taken, Path(name).stem)
    assert {key: row.get(key) for key in more} == more
    assert made.files[0].reported == 0
    assert lines_of(made) == len((CONSOLE / name).read_bytes().replace(b"\r", b"\n").splitlines())


def test_there_is_a_log_of_at_most_thirty_lines_for_every_grammar() -> None:
    read_by = {read(path).files[0].ingester for path in CONSOLE.iterdir()}
    grammars = {each.name for each in registry().items(Ingester).values() if each.near is not None}
    assert read_by == grammars
    assert {path.name for path in CONSOLE.iterdir()} == set(READ)
    assert all(path.read_bytes().count(b"\n") <= 30 for path in CONSOLE.iterdir())


@pytest.mark.skipif(not CASES.is_dir(), reason="the console logs of other trainers are not here")
def test_logs_without_a_header_are_read_as_they_are() -> None:
    made = read(CASES).records.select("run_id", "params", "train_tokens", "val_loss", "train_loss")
    assert made.sort("run_id").rows() == [
        ("hf-print", None, None, 3.2512, 3.3123), ("megatron", 354_871_296, 6_291_456_000, 3.109587, 3.102386),
        ("nanogpt", 10_650_000, 500 * 16_384, 1.7246, 1.5261)]


def test_curves_have_the_steps_that_are_printed() -> None:
    curves = read(CONSOLE / "nanogpt.log").curves
    assert curves.filter(metric="val_loss").select("step", "value").rows() == [
        (0, 4.2818), (250, 2.0651), (500, 1.7249)]
    assert curves.filter(metric="loss")["step"].to_list() == [0, 10, 240, 250, 500]
    llm_c = read(CONSOLE / "llm_c.log").curves
    assert llm_c.filter(metric="val_loss")["step"].to_list() == [0, 250, 18_865]  # printed without a step
    assert llm_c.filter(metric="hellaswag")["step"].to_list() == [250, 18_865]


def test_take_chooses_the_point_and_tokens_follow_it() -> None:
    row = rows(read(CONSOLE / "nanogpt.log", take=Take.read("step=250")))[0]
    assert (row["val_loss"], row["train_tokens"], row["taken_at"]) == (2.0651, 250 * 16_384, "step 250")
    row = rows(read(CONSOLE / "megatron.log", take=Take.read("best")))[0]
    assert (row["val_loss"], row["tokens_seen"]) == (3.409587, 512_000 * 1024)
    (file,) = read(CONSOLE / "nanogpt.log", take=Take.read("step=3")).files
    assert "expected values for --take step=3" in file.messages[0]


# disturbances


def test_prefixes_colours_and_overwritten_bars_do_not_disturb(tmp_path: Path) -> None:
    plain = (CONSOLE / "nanogpt.log").read_text().splitlines()
    noisy = [f"\x1b[32m[rank0]: 2026-01-02 03:04:05,678 INFO train.py:12 - {line}\x1b[0m" for line in plain]
    noisy = [f"  5%|#    | 3/60 [00:01<00:20]\r{line}" for line in noisy]
    want = rows(read(CONSOLE / "nanogpt.log"))[0]
    made = read(write(tmp_path, "\r\n".join(noisy), "nanogpt.log"))
    (row,) = rows(made)
    for name in ("params", "train_tokens", "val_loss", "train_loss", "vocab_size", "step"):
        assert row[name] == want[name], name
    assert row["source"].startswith("nanogpt.log (nanogpt")  # type: ignore[attr-defined]
    utf16 = write(tmp_path, "\n".join(plain).encode("utf-16"), "nanogpt_16.log")
    assert rows(read(utf16))[0]["val_loss"] == 1.7249


def test_a_log_is_known_by_its_end_if_it_begins_with_64_kib_of_something_else(tmp_path: Path) -> None:
    log = (CONSOLE / "modded_nanogpt.txt").read_text()
    path = write(tmp_path, "x = 1  # the program itself\n" * 4000 + log + "done\n" * 4000)
    made = read(path)
    assert (made.files[0].ingester, rows(made)[0]["val_loss"]) == ("modded-nanogpt", 3.2798)


def test_words_that_resemble_a_pattern_are_none(tmp_path: Path) -> None:
    made = read(write(tmp_path, "step 0: train loss 4.0, val loss 4.1\nmy_iter 3: loss 1.0, time 2ms\n"
                      "step 5: train loss 2.0, val loss 40%\nstep 6: train loss 2.0, val loss 3.1.4\n"
                      "step 7: train loss 3.0, val loss 3.5e\n"))
    assert [row["step"] for row in rows(made)] == [0]
    assert "loss" not in made.curves["metric"]
    assert made.files[0].reported == 3  # they begin like a point; `my_iter` does not
    assert "log.txt:3: expected 'step {step}: train loss {train_loss},' and a number, found 'step 5: train" \
        in made.files[0].messages[0]


def test_a_line_cut_off_and_a_step_that_is_none_are_reported(tmp_path: Path) -> None:
    made = read(write(tmp_path, f"iter 10: loss 3.0, time 1ms\niter {10**20}: loss 3.0, time 1ms\n"
                      "iter 20: loss 2.9, ti\n"))
    assert [message.partition(": ")[2].split(",")[0] for message in made.files[0].messages] == [
        "expected a whole number of steps", "expected 'iter {step}: loss {loss}"]
    assert rows(made)[0]["step"] == 10


# what is said


def test_a_training_loss_is_never_taken_for_a_validation_loss_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path, "iter 0: loss 4.2, time 9ms\niter 10: loss 3.2, time 9ms\n")
    (row,) = rows(read(path))
    assert (row["val_loss"], row["train_loss"]) == (None, 3.2)
    assert "no validation loss is printed: 'loss' is read as train_loss" in _notes(path)


def test_what_is_missing_is_said_with_the_option_that_gives_it() -> None:
    said = _notes(CONSOLE / "modded_nanogpt.txt")
    assert "give them with --map train_tokens='step * TOKENS_PER_STEP'" in said
    assert "give them with --map params=N" in said
    row = rows(read(CONSOLE / "modded_nanogpt.txt", mapping={"train_tokens": "step * 524288", "params": "124e6"}))[0]
    assert (row["train_tokens"], row["params"]) == (1770 * 524_288, 124e6)
    assert "ends at step 1100 of 2000" in _notes(CONSOLE / "megatron.log")
    assert "no steps are printed: points are numbered" in _notes(CONSOLE / "hf_console.log")


def test_several_validation_sets_are_named_and_one_can_be_chosen() -> None:
    said = _notes(CONSOLE / "olmo.log")
    assert "--map 'val_loss=`eval/c4_en-validation/loss`'" in said
    chosen = read(CONSOLE / "olmo.log", mapping={"val_loss": "`eval/c4_en-validation/loss`"})
    assert rows(chosen)[0]["val_loss"] == 10.74


def test_a_model_in_parts_has_the_sum_of_all_of_them_or_no_size(tmp_path: Path) -> None:
    text = (CONSOLE / "megatron.log").read_text().replace("Total number of parameters in billions: 0.35\n", "")
    lines = [line for line in text.splitlines() if "rank (1, 1)" not in line]
    path = write(tmp_path, "\n".join(lines), "run.log")
    assert rows(read(path))[0]["params"] is None
    assert "params are printed part by part, not for all of the 4 parts" in _notes(path)
    twice = [line for line in text.splitlines() for _ in range(1 + ("rank (" in line))]
    assert rows(read(write(tmp_path, "\n".join(twice), "run.log")))[0]["params"] == 411_000_000


def test_losses_of_preferences_are_no_cross_entropy(tmp_path: Path) -> None:
    path = write(tmp_path, "{'loss': 0.5, 'rewards/margins': 0.2, 'learning_rate': 1e-6, 'epoch': 0.5}\n")
    (row,) = rows(read(path))
    assert (row["loss"], row["train_loss"], row["train_ppl"]) == (0.5, None, None)
    assert "no cross-entropy" in _notes(path)


def test_a_run_that_has_just_begun_has_seen_no_tokens_yet(tmp_path: Path) -> None:
    log = (CONSOLE / "nanogpt.log").read_text()
    made = read(write(tmp_path, log[:log.index("iter 0:")]))
    (row,) = rows(made)
    assert (row["val_loss"], row["tokens_seen"], row["train_tokens"]) == (4.2818, None, None)
    assert made.failed == ()


# several runs in a log


def test_a_log_that_begins_anew_holds_several_runs(tmp_path: Path) -> None:
    log = (CONSOLE / "llm_c.log").read_text()
    second = log.replace("| num_layers L          | 12", "| num_layers L          | 24").replace("3.283377", "3.1")
    made = rows(read(write(tmp_path, log + second, "both.log")))
    assert [(row["run_id"], row["num_layers"], row["val_loss"]) for row in made] == [
        ("both", 12, 3.283377), ("both-2", 24, 3.1)]
    begun = second[:second.index("val loss")]
    (only,) = rows(read(write(tmp_path, log + begun, "begun.log")))
    assert (only["num_layers"], only["val_loss"]) == (12, 3.283377)
    bare = "".join(f"step:{step}/20 val_loss:{5 - step / 10 - run:.2f} train_time:1ms\n"
                   for run in range(2) for step in (0, 10, 20))
    assert [row["val_loss"] for row in rows(read(write(tmp_path, bare, "bare.log")))] == [3.0, 2.0]


def test_a_log_that_goes_on_from_a_checkpoint_is_one_run(tmp_path: Path) -> None:
    log = (CONSOLE / "nanogpt.log").read_text()
    on = "step 250: train loss 1.96, val loss 2.07\nstep 750: train loss 1.4, val loss 1.6\n"
    path = write(tmp_path, log + log[:log.index("step 0:")] + on, "run.log")
    (row,) = rows(read(path))
    assert (row["val_loss"], row["train_tokens"]) == (1.6, 750 * 16_384)
    assert "steps go back to 250: read as a run that was resumed" in _notes(path)


def test_steps_that_begin_anew_with_every_epoch_go_on(tmp_path: Path) -> None:
    text = "".join(f"[epoch={epoch}][batch={batch}/5]:\n\t Train time/token: {(5 * epoch + batch - 6) * 100}\n"
                   f"\t Train metrics/train/LanguageCrossEntropy: {9 - epoch - batch / 10}\n"
                   for epoch in (1, 2, 3) for batch in range(1, 6))
    made = read(write(tmp_path, text + "\t Eval metrics/eval/LanguageCrossEntropy: 5.75\n"))
    (row,) = rows(made)
    assert (row["step"], row["val_loss"], row["epochs"], row["tokens_seen"]) == (15, 5.75, 3, 1400)
    assert row["train_tokens"] == pytest.approx(1400 / 3)
    assert made.curves.filter(metric="train_loss")["step"].to_list() == list(range(1, 16))


# a grammar


def test_a_grammar_of_ten_lines_reads_a_format_of_its_own(tmp_path: Path) -> None:
    grammar = Grammar(name="mine", title="mine", points=("at {step}: {key:loss/} is {value}",),
                      facts=("{+params} in layer {}",), follows=("tokens_seen = step * 1000",),
                      names={"loss/held out": "val_loss", "loss/*": "eval/*/loss"},
                      signs=("at {step}: ",))
    path = write(tmp_path, "1,000 in layer a\n2K in layer b\nat 3: loss/held out is 2.5 | at 3: loss/books is 3.5\n")
    ingester = grammar.ingester()
    assert ingester.matches(path, path.read_bytes())
    assert not ingester.matches(path, b"nothing")
    assert not ingester.matches(tmp_path, None)
    items = list(pickle.loads(pickle.dumps(ingester)).read(path, _options()))
    (run,) = [item for item in items if hasattr(item, "columns")]
    assert {name: run.columns[name] for name in ("params", "val_loss", "eval/books/loss", "train_tokens")} == {
        "params": 3000, "val_loss": 2.5, "eval/books/loss": 3.5, "train_tokens": 3000}


def _options() -> object:
    from cvfp_core.registry.kinds import IngestOptions

    return IngestOptions()


def test_a_grammar_that_cannot_work_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"follows takes 'quantity = expression', not 'tokens'"):
        Grammar(name="mine", title="mine", points=("{step} {loss}",), follows=("tokens",))
    with pytest.raises(ValueError, match=r"no point has \{step\} and a value; say in signs"):
        Grammar(name="mine", title="mine", points=("[{step}]", "loss {loss}"))


# tables that come with a console log


def test_a_table_of_a_sweep_of_nanochat_is_read_without_a_map(tmp_path: Path) -> None:
    path = write(tmp_path, """\
flops_budget,depth,model_dim,params_wte,params_lm_head,params_transformer,params_total,num_iterations,tokens_trained,\
val_bpb,core_score,train_time_sec
1e18,10,640,20971520,20971520,49152000,112066580,3010,1578106880,0.9101,0.1102,310
2.15e18,12,768,25165824,25165824,84934656,160432152,4001,2097676288,0.8722,0.1402,650
""", "results.csv")
    made = read(path).records.sort("params")
    assert made.select("params", "train_tokens", "flops", "val_bpb", "num_layers", "context_dim").rows() == [
        (112_066_580, 1_578_106_880, 1e18, 0.9101, 10, 640), (160_432_152, 2_097_676_288, 2.15e18, 0.8722, 12, 768)]


# files that nobody knows


def test_a_file_that_nobody_knows_gets_the_nearest_reader_and_the_way_to_another(tmp_path: Path) -> None:
    path = write(tmp_path, "number of parameters: 10.65M\nepoch one: fine\n")
    problem = str(read(path).files[0].problem)
    assert ("nearest: 'nanogpt', which declined it: it has 'number of parameters: {params}', but no line 'step {step}: "
            "train loss") in problem
    assert problem.endswith("choose one with --format, or write one: cvfp plugin new NAME --kind ingester")
    assert "nearest" not in str(read(write(tmp_path, "Dear all\n", "letter.txt")).files[0].problem)
