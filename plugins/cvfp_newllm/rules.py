"""One rule a kind of line: the pattern, and what it changes. Rules are looked up by a line's first word."""

# ruff: noqa: ARG001  (every rule takes the same three arguments)
from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from cvfp_core.schema.found import NotUnderstood, PublishedAlpha
from cvfp_newllm.printed import count, number, percent

if TYPE_CHECKING:
    from cvfp_newllm.grammar import Grammar

Match = re.Match[str]
Handler = Callable[["Grammar", Match, int], str | None]

_NAME = re.compile(r"(?<!\d)([1-9]\d{0,5})L_([1-9]\d{0,8})d_([1-9]\d{0,5})tok")
_PAIR = re.compile(r"([A-Za-z_]+)\s*=\s*(\d{1,9})\b")
_SIZES = {"num_layers": "num_layers", "layers": "num_layers", "layer": "num_layers", "context_dim": "context_dim",
          "ctx_dim": "context_dim", "num_input_tokens": "num_input_tokens", "input_tokens": "num_input_tokens"}


def _sizes(log: Grammar, text: str) -> bool:
    """Takes every size the text names; False if it names none."""
    found = False
    if match := _NAME.search(text):
        log.at.num_layers, log.at.context_dim, log.at.num_input_tokens = (int(part) for part in match.groups())
        found = True
    if match := re.search(r"\b(\d{1,5}) layers\b", text):
        log.at.num_layers = int(match[1])
        found = True
    for name, value in _PAIR.findall(text):
        if name in _SIZES:
            setattr(log.at, _SIZES[name], int(value))
            found = True
    return found


# headers


def config(log: Grammar, match: Match, line: int) -> str | None:
    log.finish()
    log.at.num_samples = log.at.train_tokens = None
    return "record" if _sizes(log, match[1]) else None


def sizes(log: Grammar, match: Match, line: int) -> str | None:
    return "record" if _sizes(log, match.string) else None


def experiment(log: Grammar, match: Match, line: int) -> str:
    log.announce(line, count(match[1]))
    log.at.num_layers, log.at.context_dim, log.at.num_input_tokens = int(match[2]), int(match[3]), int(match[4])
    return "record"


def samples_header(log: Grammar, match: Match, line: int) -> str:
    log.announce(line, count(match[1]))
    return "record"


def numbered(log: Grammar, match: Match, line: int) -> str:
    log.announce(line, count(match[3]))
    log.at.algorithm, log.at.context_dim = match[1], int(match[2])
    return "record"


def mode(log: Grammar, match: Match, line: int) -> str | None:
    log.announce(line, log.at.num_samples)
    log.at.mode = match[1]
    return "record" if _sizes(log, match[2]) else None


def algorithm(log: Grammar, match: Match, line: int) -> str:
    log.finish()
    log.at.algorithm = match[1]
    if weight := re.search(r"dist_reg_weight=([\d.]+)", match[2]):
        log.at.printed["phase1.dist_reg_weight"] = number(weight[1])
    return "record"


def samples_line(log: Grammar, match: Match, line: int) -> str:
    log.at.num_samples = count(match[1])
    if match[2]:
        log.at.train_tokens = count(match[2])
    return "record"


def one_size(name: str) -> Handler:
    def take(log: Grammar, match: Match, line: int) -> str:
        setattr(log.at, name, int(match[1]))
        return "record"

    return take


def setting(key: str, kind: Callable[[str], float]) -> Handler:
    def take(log: Grammar, match: Match, line: int) -> str:
        log.at.printed[key] = kind(match[1])
        return "record"

    return take


def embeddings(log: Grammar, match: Match, line: int) -> str:
    log.at.vocab_size, log.at.embed_dim = int(match[1]), int(match[2])
    return "record"


def train_tokens(log: Grammar, match: Match, line: int) -> str:
    log.at.train_tokens = count(match[1])
    if match[2]:
        log.at.num_samples = count(match[2])
    return "record"


def val_tokens(log: Grammar, match: Match, line: int) -> str:
    log.at.val_tokens = count(match[1])
    return "record"


def data(log: Grammar, match: Match, line: int) -> str:
    log.at.train_tokens, log.at.val_tokens = count(match[1]), count(match[2])
    return "record"


def device(log: Grammar, match: Match, line: int) -> str:
    log.at.device = log.at.device or match[1].strip()
    return "record"


def gpu(log: Grammar, match: Match, line: int) -> str:
    log.at.device = f"cuda ({match[1].strip()})"
    return "record"


def output(log: Grammar, match: Match, line: int) -> str:
    log.output = log.output or match[1].strip()
    return "record"


# phase 1


def phase1(log: Grammar, match: Match, line: int) -> str:
    if match[1] not in ("Train", "Val"):
        log.at.algorithm = match[1]
    log.at.train_tokens = count(match[2])
    log.at.printed["phase1.max_iterations"] = int(match[3])
    log.begin(line).phase1_started = True
    return "record"


def stopped(reason: str) -> Handler:
    def take(log: Grammar, match: Match, line: int) -> str | None:
        if log.run is None or log.run.phase2_started:
            return None
        log.run.stop = reason
        return "record"

    return take


def done(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None or log.run.phase2_started:
        return None
    log.run.rate, log.run.phase1_done = percent(match[1]), True
    return "record"


def cache(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.cache_seconds = float(match[1])
    return "record"


def both_ranks(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.train_er, log.run.val_er = percent(match[1]), percent(match[2])
    log.run.phase1_done = True
    return "record"


def val_er(log: Grammar, match: Match, line: int) -> str | None:
    run = log.run
    if run is None:
        return None
    if run.phase1_done:
        run.val_er, run.phase1_only = percent(match[1]), not run.phase2_started
        return "record"
    if run.last_iteration is None:
        return None
    run.er_steps.append(run.last_iteration)
    run.er_values.append(percent(match[1]))
    return "curve"


def train_er(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.train_er = percent(match[1])
    return "record"


def phase1_summary(log: Grammar, match: Match, line: int) -> str | None:
    run = log.run
    if run is None:
        return None
    run.seconds_phase1, run.last_iteration, run.phase1_done = float(match[1]), int(match[2]), True
    run.train_er, run.val_er = percent(match[3]), percent(match[4])
    return "record"


def phase1_seconds(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None or not log.run.phase1_done or log.run.phase2_started:
        return None
    log.run.seconds_phase1 = float(match[1])
    return "record"


# phase 2


def parameters(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.trainable, log.run.total = count(match[1]), count(match[2])
    return "record"


def phase2(log: Grammar, match: Match, line: int) -> str:
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
    return "record"


def early_stop(log: Grammar, match: Match, line: int) -> str | None:
    return "record" if log.run is not None and log.run.phase2_started else None


def best(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.best = (int(match[1]), number(match[2]), percent(match[3]))
    log.run.phase2_started = True
    return "record"


def result(log: Grammar, match: Match, line: int) -> str | None:
    run = log.run
    if run is None:
        return None
    found = number(match[1]), percent(match[2])
    if run.result is not None and run.result != found:
        return None
    run.result, run.phase2_started = found, True
    return "record"


def phase2_summary(log: Grammar, match: Match, line: int) -> str | None:
    if log.run is None:
        return None
    log.run.seconds_phase2 = float(match[1])
    return result(log, re.match(r"(\S+) (\S+)", f"{match[2]} {match[3]}") or match, line)


# tables at the end, and failures


def alpha_row(log: Grammar, match: Match, line: int) -> str:
    log.finish()
    log.pending.append(PublishedAlpha(line=line, variant=match[1], alpha=float(match[2]), exact=False))
    return "record"


def config_of_windows(log: Grammar, match: Match, line: int) -> str:
    log.finish()
    log.config = match[1]
    return "record"


def window_row(log: Grammar, match: Match, line: int) -> str | None:
    if log.config is None:
        return None
    log.pending.append(PublishedAlpha(
        line=line, variant=log.config, alpha=float(match[3]), first_samples=int(match[1]), last_samples=int(match[2]),
        exact=False,
    ))
    return "record"


def scaling_law(log: Grammar, match: Match, line: int) -> str | None:
    log.finish()
    at = log.at
    if None in (at.num_layers, at.context_dim, at.num_input_tokens):
        return None
    variant = f"{at.num_layers}L_{at.context_dim}d_{at.num_input_tokens}tok"
    log.pending.append(PublishedAlpha(line=line, variant=variant, alpha=float(match[1]), exact=False))
    return "record"


def detail_row(log: Grammar, match: Match, line: int) -> str | None:
    log.finish()
    return _agrees(log, match[1], int(match[2]), number(match[3]), line)


def plain_row(log: Grammar, match: Match, line: int) -> str | None:
    log.finish()
    at = log.at
    return _agrees(log, f"{at.num_layers}L_{at.context_dim}d_{at.num_input_tokens}tok", int(match[1]),
                   number(match[2]), line)


def _agrees(log: Grammar, variant: str, samples: int, val_ppl: float, line: int) -> str | None:
    """A row of a table that repeats what a run said: nothing new if it agrees, reported if not or without its run."""
    known = log.results.get((variant, samples))
    if known is None or abs(known) == inf:
        return None
    if known != val_ppl:
        log.pending.append(NotUnderstood(
            line=line, expected=f"Val PPL {known:g} of {variant} at {samples} samples, as its run says",
            found=f"{val_ppl:g}",
        ))
    return "record"


def earlier(log: Grammar, match: Match, line: int) -> str:
    return "record"


def interrupted(log: Grammar, match: Match, line: int) -> str:
    return log.fail("interrupted", match[0].strip()[:200])


def failed(log: Grammar, match: Match, line: int) -> str:
    return log.fail("failed", match[0].strip()[:200])


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
    "Samples:": _rules((rf"Samples: (\d+)(?:, Tokens: {_N})?$", samples_line)),
    "Context": _rules((r"Context dim: (\d{1,9})$", one_size("context_dim"))),
    "num_layers:": _rules((r"num_layers: (\d{1,5})$", one_size("num_layers"))),
    "num_input_tokens:": _rules((r"num_input_tokens: (\d{1,5})$", one_size("num_input_tokens"))),
    "dist_reg_weight:": _rules((r"dist_reg_weight: ([\d.]+)$", setting("phase1.dist_reg_weight", float))),
    "phase1_max_iterations:": _rules((r"phase1_max_iterations: (\d+)$", setting("phase1.max_iterations", int))),
    "phase2_epochs:": _rules((r"phase2_epochs: (\d+)$", setting("phase2.epochs", int))),
    "Using": _rules((r"Using .*ContextBlock\((\d{1,5}) layers\)", one_size("num_layers"))),
    "Loaded": _rules((r"Loaded \S+ embeddings: torch\.Size\(\[(\d{1,9}), (\d{1,9})\]\)", embeddings)),
    "Train:": _rules((rf"Train: {_N} tokens(?: \((\d+) samples\))?", train_tokens)),
    "Val:": _rules((rf"Val: +{_N} tokens", val_tokens)),
    "Data:": _rules((rf"Data: {_N} train, {_N} val tokens", data)),
    "Device:": _rules((r"Device: (.{1,100})$", device)),
    "GPU:": _rules((r"GPU: (.{1,100})$", gpu)),
    "Output:": _rules((r"Output: (\S.*)$", output)),
    "Converged": _rules((r"Converged at iter \d+", stopped("converged"))),
    "Val": _rules((rf"Val ER: {_P}$", val_er), (r"Val early stop", stopped("val_early_stop"))),
    "Train": _rules((rf"Train ER: {_P}$", train_er)),
    "Early": _rules((r"Early stop at epoch \d+", early_stop), (r"Early stop: conv [\d.]+% >=", stopped("early_stop"))),
    "Done:": _rules((rf"Done: {_P} converged", done)),
    "Cache": _rules((r"Cache collected \(.*\) \[([\d.]+)s\]", cache)),
    "ER:": _rules((rf"ER: train={_P}, val={_P}", both_ranks)),
    "Phase": _rules(
        (rf"Phase 1: ([\d.]+)s, (\d{{1,9}}) iter, (?:conv=[\d.]+%, )?ER={_P}/{_P}", phase1_summary),
        (rf"Phase 2: ([\d.]+)s, PPL={_X}, Acc={_P}", phase2_summary),
    ),
    "Time:": _rules((r"Time: ([\d.]+)s$", phase1_seconds)),
    "Training": _rules(
        (rf"Training TokenBlock only: {_N}/{_N} parameters", parameters),
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
