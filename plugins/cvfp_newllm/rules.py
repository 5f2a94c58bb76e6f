"""One rule a kind of line: the pattern, and what it changes. Rules are looked up by a line's first word."""

# ruff: noqa: ARG001  (every rule takes the same three arguments)
from __future__ import annotations

import re
from collections.abc import Callable
from math import inf

from cvfp_core.schema.found import NotUnderstood, PublishedAlpha
from cvfp_newllm.grammar import Grammar, plain
from cvfp_newllm.logged import LoggedRun
from cvfp_newllm.printed import count, number, percent

Match = re.Match[str]
Handler = Callable[[Grammar, Match, int], str | None]
"""(what the log has said, the line, its number) -> "curve" for a point of one; raises ValueError for a line that does
not go with what came before."""

_NAME = re.compile(r"(?<!\d)([1-9]\d{0,5})L_([1-9]\d{0,8})d_([1-9]\d{0,5})tok")
_PAIR = re.compile(r"([A-Za-z_]+)\s*=\s*(\d{1,9})\b")
_SIZES = {"num_layers": "num_layers", "layers": "num_layers", "layer": "num_layers", "context_dim": "context_dim",
          "ctx_dim": "context_dim", "num_input_tokens": "num_input_tokens", "input_tokens": "num_input_tokens"}


def read_line(log: Grammar, words: list[str], line: str, at: int) -> str | None:
    """What the line is: "record", "curve", or None if it is not understood; what it says is in the log then."""
    text = plain(words, line)
    first = text.split(None, 1)[0]
    rules = RULES.get(first)
    if rules is None:
        rules = RULES["#digits" if first[0].isdigit() else "#bracket" if first[0] == "[" else "#other"]
    for pattern, handler in rules:
        if match := pattern.match(text):
            try:
                return handler(log, match, at) or "record"
            except (ValueError, OverflowError):
                return None
    return None


def _sizes(log: Grammar, text: str) -> None:
    """Takes every size the text names. Raises ValueError if it names none."""
    sizes: dict[str, int] = {}
    if match := _NAME.search(text):
        sizes |= zip(("num_layers", "context_dim", "num_input_tokens"), map(int, match.groups()), strict=True)
    if match := re.search(r"\b(\d{1,5}) layers\b", text):
        sizes["num_layers"] = int(match[1])
    sizes |= {_SIZES[name]: int(value) for name, value in _PAIR.findall(text) if name in _SIZES}
    if not sizes:
        raise ValueError(text)
    for name, size in sizes.items():
        setattr(log.at, name, size)


# headers


def config(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    log.at.num_samples = log.at.train_tokens = None
    _sizes(log, match[1])


def sizes(log: Grammar, match: Match, line: int) -> None:
    _sizes(log, match.string)


def experiment(log: Grammar, match: Match, line: int) -> None:
    log.announce(line, count(match[1]))
    log.at.num_layers, log.at.context_dim, log.at.num_input_tokens = int(match[2]), int(match[3]), int(match[4])


def samples_header(log: Grammar, match: Match, line: int) -> None:
    log.announce(line, count(match[1]))


def numbered(log: Grammar, match: Match, line: int) -> None:
    log.announce(line, count(match[3]))
    log.at.algorithm, log.at.context_dim = match[1], int(match[2])


def mode(log: Grammar, match: Match, line: int) -> None:
    log.announce(line, log.at.num_samples)
    log.at.mode = match[1]
    _sizes(log, match[2])


def algorithm(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    log.at.algorithm = match[1]
    if weight := re.search(r"dist_reg_weight=([\d.]+)", match[2]):
        log.at.printed["phase1.dist_reg_weight"] = number(weight[1])


def counts(*names: str) -> Handler:
    """Whole numbers that hold for the runs below, in the order of the pattern's groups."""

    def take(log: Grammar, match: Match, line: int) -> None:
        for name, text in zip(names, match.groups(), strict=True):
            if text:
                setattr(log.at, name, count(text))

    return take


def setting(key: str, kind: Callable[[str], float]) -> Handler:
    def take(log: Grammar, match: Match, line: int) -> None:
        log.at.printed[key] = kind(match[1])

    return take


def device(log: Grammar, match: Match, line: int) -> None:
    log.at.device = log.at.device or match[1].strip()


def gpu(log: Grammar, match: Match, line: int) -> None:
    log.at.device = f"cuda ({match[1].strip()})"


def output(log: Grammar, match: Match, line: int) -> None:
    log.output = log.output or match[1].strip()


# phase 1


def phase1(log: Grammar, match: Match, line: int) -> None:
    if match[1] not in ("Train", "Val"):
        log.at.algorithm = match[1]
    log.at.train_tokens = count(match[2])
    log.at.printed["phase1.max_iterations"] = int(match[3])
    log.begin(line).phase1_started = True


def _in_phase1(log: Grammar) -> LoggedRun:
    if log.current.phase2_started:
        raise ValueError("Phase 2 has begun")
    return log.current


def stopped(reason: str) -> Handler:
    def take(log: Grammar, match: Match, line: int) -> None:
        _in_phase1(log).stop = reason

    return take


def done(log: Grammar, match: Match, line: int) -> None:
    run = _in_phase1(log)
    run.rate, run.phase1_done = percent(match[1]), True


def measured(*fields: tuple[str, Callable[[str], float]], phase1_done: bool = False) -> Handler:
    """Figures of the run, in the order of the pattern's groups. phase1_done: they are printed after Phase 1."""

    def take(log: Grammar, match: Match, line: int) -> None:
        run = log.current
        for (name, kind), text in zip(fields, match.groups(), strict=True):
            setattr(run, name, kind(text))
        run.phase1_done |= phase1_done

    return take


def val_er(log: Grammar, match: Match, line: int) -> str | None:
    run = log.current
    if run.phase1_done:
        run.val_er, run.phase1_only = percent(match[1]), not run.phase2_started
        return None
    if run.last_iteration is None:
        raise ValueError("no iteration before it")
    run.er_steps.append(run.last_iteration)
    run.er_values.append(percent(match[1]))
    return "curve"


def phase1_seconds(log: Grammar, match: Match, line: int) -> None:
    run = _in_phase1(log)
    if not run.phase1_done:
        raise ValueError("Phase 1 has not ended")
    run.seconds_phase1 = float(match[1])


# phase 2


def phase2(log: Grammar, match: Match, line: int) -> None:
    tokens, val, epochs = count(match[1]), count(match[2]), int(match[3])
    run = log.run
    if run is None or run.phase2_started:
        log.at.train_tokens = tokens
        run = log.begin(line)
    run.phase2_started = True
    run.setting.train_tokens, run.setting.val_tokens = tokens, val
    log.at.val_tokens = val
    for printed in (log.at.printed, run.setting.printed):
        printed["phase2.epochs"] = epochs


def early_stop(log: Grammar, match: Match, line: int) -> None:
    if not log.current.phase2_started:
        raise ValueError("Phase 2 has not begun")


def best(log: Grammar, match: Match, line: int) -> None:
    log.current.best = (int(match[1]), number(match[2]), percent(match[3]))
    log.current.phase2_started = True


def result(log: Grammar, match: Match, line: int) -> None:
    _result(log.current, match[1], match[2])


def phase2_summary(log: Grammar, match: Match, line: int) -> None:
    log.current.seconds_phase2 = float(match[1])
    _result(log.current, match[2], match[3])


def _result(run: LoggedRun, ppl: str, acc: str) -> None:
    found = number(ppl), percent(acc)
    if run.result not in (None, found):
        raise ValueError("two results of one run")
    run.result, run.phase2_started = found, True


# tables at the end, and failures


def _variant(log: Grammar) -> str:
    at = log.at
    return f"{at.num_layers}L_{at.context_dim}d_{at.num_input_tokens}tok"


def alpha_row(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    log.pending.append(PublishedAlpha(line=line, variant=match[1], alpha=float(match[2]), exact=False))


def config_of_windows(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    log.config = match[1]


def window_row(log: Grammar, match: Match, line: int) -> None:
    if log.config is None:
        raise ValueError("no configuration above it")
    log.pending.append(PublishedAlpha(
        line=line, variant=log.config, alpha=float(match[3]), first_samples=int(match[1]), last_samples=int(match[2]),
        exact=False,
    ))


def scaling_law(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    if None in (log.at.num_layers, log.at.context_dim, log.at.num_input_tokens):
        raise ValueError("of no variant")
    log.pending.append(PublishedAlpha(line=line, variant=_variant(log), alpha=float(match[1]), exact=False))


def detail_row(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    _agree(log, match[1], int(match[2]), number(match[3]), line)


def plain_row(log: Grammar, match: Match, line: int) -> None:
    log.finish()
    _agree(log, _variant(log), int(match[1]), number(match[2]), line)


def _agree(log: Grammar, variant: str, samples: int, val_ppl: float, line: int) -> None:
    """A row of a table that repeats what a run said: nothing new if it agrees, reported if not or without its run."""
    known = log.results.get((variant, samples))
    if known is None or abs(known) == inf:
        raise ValueError("of no run")
    if known != val_ppl:
        log.pending.append(NotUnderstood(
            line=line, expected=f"Val PPL {known:g} of {variant} at {samples} samples, as its run says",
            found=f"{val_ppl:g}",
        ))


def earlier(log: Grammar, match: Match, line: int) -> None:
    """Repeats what was said before."""


def interrupted(log: Grammar, match: Match, line: int) -> None:
    log.fail("interrupted", match[0].strip()[:200])


def failed(log: Grammar, match: Match, line: int) -> None:
    log.fail("failed", match[0].strip()[:200])


def _rules(*pairs: tuple[str, Handler]) -> tuple[tuple[re.Pattern[str], Handler], ...]:
    return tuple((re.compile(pattern, re.ASCII), handler) for pattern, handler in pairs)


_N = r"([\d,]+)"
_P = r"([\d.]+)%"
_X = r"([\d.,]+|nan|inf)"

RULES: dict[str, tuple[tuple[re.Pattern[str], Handler], ...]] = {
    "Config:": _rules((r"Config: (.+)$", config)),
    "Architecture:": _rules((r"Architecture: (.+)$", config)),
    "Algorithm:": _rules((r"Algorithm: (\w+)(.*)$", algorithm)),
    "---": _rules(
        (r"--- Experiment: (\d+) samples, (\d+)L, (\d+)d, (\d+)tok", experiment),
        (r"--- (\d+) samples ---", samples_header),
    ),
    "#": _rules((r"# (context_dim = \d+)$", sizes)),
    "Samples:": _rules((rf"Samples: (\d+)(?:, Tokens: {_N})?$", counts("num_samples", "train_tokens"))),
    "Context": _rules((r"Context dim: (\d{1,9})$", counts("context_dim"))),
    "num_layers:": _rules((r"num_layers: (\d{1,5})$", counts("num_layers"))),
    "num_input_tokens:": _rules((r"num_input_tokens: (\d{1,5})$", counts("num_input_tokens"))),
    "dist_reg_weight:": _rules((r"dist_reg_weight: ([\d.]+)$", setting("phase1.dist_reg_weight", float))),
    "phase1_max_iterations:": _rules((r"phase1_max_iterations: (\d+)$", setting("phase1.max_iterations", int))),
    "phase2_epochs:": _rules((r"phase2_epochs: (\d+)$", setting("phase2.epochs", int))),
    "Using": _rules((r"Using .*ContextBlock\((\d{1,5}) layers\)", counts("num_layers"))),
    "Loaded": _rules(
        (r"Loaded \S+ embeddings: torch\.Size\(\[(\d{1,9}), (\d{1,9})\]\)", counts("vocab_size", "embed_dim")),
    ),
    "Train:": _rules((rf"Train: {_N} tokens(?: \((\d+) samples\))?", counts("train_tokens", "num_samples"))),
    "Val:": _rules((rf"Val: +{_N} tokens", counts("val_tokens"))),
    "Data:": _rules((rf"Data: {_N} train, {_N} val tokens", counts("train_tokens", "val_tokens"))),
    "Device:": _rules((r"Device: (.{1,100})$", device)),
    "GPU:": _rules((r"GPU: (.{1,100})$", gpu)),
    "Output:": _rules((r"Output: (\S.*)$", output)),
    "Converged": _rules((r"Converged at iter \d+", stopped("converged"))),
    "Val": _rules((rf"Val ER: {_P}$", val_er), (r"Val early stop", stopped("val_early_stop"))),
    "Train": _rules((rf"Train ER: {_P}$", measured(("train_er", percent)))),
    "Early": _rules((r"Early stop at epoch \d+", early_stop), (r"Early stop: conv [\d.]+% >=", stopped("early_stop"))),
    "Done:": _rules((rf"Done: {_P} converged", done)),
    "Cache": _rules((r"Cache collected \(.*\) \[([\d.]+)s\]", measured(("cache_seconds", float)))),
    "ER:": _rules(
        (rf"ER: train={_P}, val={_P}", measured(("train_er", percent), ("val_er", percent), phase1_done=True)),
    ),
    "Phase": _rules(
        (rf"Phase 1: ([\d.]+)s, (\d{{1,9}}) iter, (?:conv=[\d.]+%, )?ER={_P}/{_P}",
         measured(("seconds_phase1", float), ("last_iteration", int), ("train_er", percent), ("val_er", percent),
                  phase1_done=True)),
        (rf"Phase 2: ([\d.]+)s, PPL={_X}, Acc={_P}", phase2_summary),
    ),
    "Time:": _rules((r"Time: ([\d.]+)s$", phase1_seconds)),
    "Training": _rules(
        (rf"Training TokenBlock only: {_N}/{_N} parameters", measured(("trainable", count), ("total", count))),
        (r"Training completed in ([\d.]+)s", phase1_seconds),
    ),
    "Model:": _rules((r"Model: [\d,]+ params", earlier)),
    "Best:": _rules((rf"Best: epoch (\d{{1,9}}), ppl={_X}, acc={_P}", best)),
    "Result:": _rules((rf"Result: PPL={_X}, Acc={_P}", result)),
    "PPL:": _rules((rf"PPL: {_X}, Acc: {_P}, ER: [\d.]+%", result)),
    "Scaling": _rules((r"Scaling Law: \S+ = (-?[\d.]+)", scaling_law)),
    "#bracket": _rules(
        (rf"\[Phase 1\] (\S+): {_N} tokens, (\d{{1,9}}) iterations", phase1),
        (rf"\[Phase 2\] {_N} train / {_N} val tokens, (\d{{1,9}}) epochs", phase2),
        (r"\[\d+/\d+\] (\S+) \| ctx_dim=(\d{1,9}) \| (\d+) samples", numbered),
        (r"\[(\w+)\] (layers?=\d.*)$", mode),
    ),
    "#digits": _rules(
        (r"(\d+L_\d+d_\d+tok):$", config_of_windows),
        (rf"(\d+L_\d+d_\d+tok) +(\d+) +[\d,]+ +\d+ +{_P} +{_P} +{_X} +{_X} +{_P}$".replace(
            _P, r"[\d.]+%").replace(f"{_X} +{_X}", rf"[\d.,]+ +{_X}"), detail_row),
        (r"(\d+L_\d+d_\d+tok) +(-?\d+\.\d+) +[\d.]+e[+-]\d+ +[\d.]+ ", alpha_row),
        (r"\d+ +(\d{1,9})-(\d{1,9}) +[\d,]+-[\d,]+ +(-?\d+\.\d+) +[\d.]+e[+-]\d+ +[\d.]+$", window_row),
        (rf"(\d{{1,9}}) +[\d,]+ +{_X} +[\d.]+% +[\d.]+%$", plain_row),
    ),
    "#other": _rules(
        (r"num_layers=\d+, ", sizes),
        (r"\w+ \(\d+L/\d+d/\d+tok\) +-?\d+\.\d+ +[\d.]+ +[\d.]+%$", earlier),
        (r"(?:KeyboardInterrupt\b.*|\^C)$", interrupted),
        (r"[\w.]*(?:Error|Exception)(?::.*)?$", failed),
        (r"Killed$", failed),
    ),
}
"""By first word; `#bracket`, `#digits` and `#other` for lines that begin with a bracket, a digit, anything else."""
