"""One run as a console log prints it, and the record it becomes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from typing import Any

from cvfp_core.schema.found import Curve

OBJECTIVES = ("mcdl", "odcm", "sdl", "nuc", "ctm", "due", "udel", "unif", "infonce", "decorr", "wmse", "hsic", "oacd")
"""What the scripts call algorithms, in capitals: objectives of Phase 1, the published one first."""
_ENDINGS = {"val_early_stop": "val-er", "early_stop": "converged", "converged": "converged"}
"""What lines say that stopped Phase 1 -> its ending."""
EMBEDDING_NORM = 2
"""The scripts left the embedding's LayerNorm (weight and bias: 2 embed_dim) trainable; it never trained."""


@dataclass(slots=True, kw_only=True)
class Setting:
    """Where in a log we are: what headers said that holds for the runs below them."""

    num_layers: int | None = None
    context_dim: int | None = None
    num_input_tokens: int | None = None
    algorithm: str | None = None
    """Where a file holds several; it is no part of the variant."""
    mode: str | None = None
    """Another way of building the model, likewise."""
    num_samples: int | None = None
    train_tokens: int | None = None
    val_tokens: int | None = None
    embed_dim: int | None = None
    vocab_size: int | None = None
    device: str | None = None
    printed: dict[str, Any] = field(default_factory=dict)
    """Settings, as `phase1.max_iterations`."""

    @property
    def objective(self) -> str | None:
        """What Phase 1 minimised, where the algorithm is one that is known."""
        name = (self.algorithm or "").lower()
        return name if name in OBJECTIVES else None

    @property
    def tag(self) -> str | None:
        """What tells the runs of one file apart that have the same variant."""
        return self.mode or self.algorithm


@dataclass(slots=True, kw_only=True)
class LoggedRun:
    """A run being read; everything None until its line comes."""

    line: int
    setting: Setting
    iterations: array[int] = field(default_factory=lambda: array("q"))
    convergence: array[float] = field(default_factory=lambda: array("d"))
    losses: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    er_steps: array[int] = field(default_factory=lambda: array("q"))
    er_values: array[float] = field(default_factory=lambda: array("d"))
    epochs: array[int] = field(default_factory=lambda: array("q"))
    train_ppls: array[float] = field(default_factory=lambda: array("d"))
    val_ppls: array[float] = field(default_factory=lambda: array("d"))
    val_accs: array[float] = field(default_factory=lambda: array("d"))
    epoch_seconds: array[float] = field(default_factory=lambda: array("d"))
    last_iteration: int | None = None
    not_finite: int | None = None
    """The first iteration whose loss was NaN or infinite."""
    phase1_started: bool = False
    phase1_done: bool = False
    phase2_started: bool = False
    stop: str | None = None
    """Why Phase 1 stopped: converged, val_early_stop, early_stop; None: no line said so."""
    rate: float | None = None
    train_er: float | None = None
    val_er: float | None = None
    """As the log sums up: of a run with checks the best of them."""
    phase1_only: bool = False
    """Its results were printed right after Phase 1: the script has no Phase 2."""
    best: tuple[int, float, float] | None = None
    """(epoch, val_ppl, val_acc) as the log's own summary of the run has them."""
    result: tuple[float, float] | None = None
    seconds_phase1: float | None = None
    seconds_phase2: float | None = None
    cache_seconds: float = 0.0
    trainable: int | None = None
    total: int | None = None
    failure: tuple[str, str] | None = None
    """(status, reason)."""

    @property
    def variant(self) -> str | None:
        at = self.setting
        if None in (at.num_layers, at.context_dim, at.num_input_tokens):
            return None
        return f"{at.num_layers}L_{at.context_dim}d_{at.num_input_tokens}tok"

    def iterated(self, step: int, rate: float, loss: float | None, seconds: float) -> None:
        """Takes what a line says of an iteration; loss None: nothing."""
        if loss is not None and not isfinite(loss) and self.not_finite is None:
            self.not_finite = step
        self.last_iteration = step
        self.iterations.append(step)
        self.convergence.append(rate)
        self.losses.append(nan if loss is None else loss)
        self.seconds.append(seconds)

    def status(self) -> tuple[str, str | None]:
        """The run's status and the reason if it is not ok: what the log ends with."""
        if self.failure:
            return self.failure
        if self.not_finite is not None:
            return "diverged", f"the loss of Phase 1 is not finite at iteration {self.not_finite}"
        if self.best or self.result:
            return "ok", None
        if self.phase2_started:
            return "interrupted", f"the log ends in Phase 2 after {len(self.epochs)} epochs"
        if self.phase1_only:
            return "ok", None
        if self.phase1_started:
            where = "before Phase 2" if self.phase1_done else f"in Phase 1 after {self.last_iteration or 0} iterations"
            return "interrupted", f"the log ends {where}"
        return "interrupted", "the log ends before Phase 1"

    @property
    def ending(self) -> str | None:
        """What ended Phase 1, where a line says so."""
        return _ENDINGS.get(self.stop or "")

    def printed(self) -> dict[str, Any]:
        """The settings that its lines say, the published objective and ending left out, as settings are written."""
        own = {"phase1.objective": self.setting.objective, "phase1.ending": self.ending}
        return self.setting.printed | {key: value for key, value in own.items()
                                       if value not in (None, OBJECTIVES[0], "converged")}

    def columns(self) -> dict[str, Any]:
        """The record's columns, as far as the log prints them."""
        at = self.setting
        status, reason = self.status()
        best_epoch, val_ppl, val_acc, train_ppl = self._best()
        maximum = at.printed.get("phase1.max_iterations")
        last = self.last_iteration
        censored = None
        if self.phase1_done and last is not None:
            at_maximum = self.stop is None and maximum is not None and last >= maximum
            if self.stop or at_maximum:
                censored = at_maximum or self.stop == "val_early_stop"
        return {
            "variant": self.variant, "family": "residual", "num_layers": at.num_layers, "context_dim": at.context_dim,
            "embed_dim": at.embed_dim, "num_input_tokens": at.num_input_tokens, "vocab_size": at.vocab_size,
            "num_samples": at.num_samples, "train_tokens": at.train_tokens, "val_tokens": at.val_tokens,
            "objective": at.objective, "ending": self.ending, "phase1_iterations": last, "phase1_censored": censored,
            "phase1_stop": self.stop or ("maximum" if censored else None),
            "convergence_rate": self._rate(), "train_er": self.train_er,
            "val_er": final_er(self.val_er, self.er_values),
            "epochs": self.epochs[-1] if self.epochs else None, "best_epoch": best_epoch,
            "train_ppl": train_ppl, "val_ppl": val_ppl, "val_acc": val_acc,
            **self._parameters(),
            "seconds_phase1": _total(self.seconds_phase1, self.seconds, self.cache_seconds),
            "seconds_phase2": _total(self.seconds_phase2, self.epoch_seconds),
            "device": at.device, "status": status, "reason": reason,
        }

    def curves(self) -> tuple[Curve, ...]:
        """What was printed at each iteration and epoch."""
        found = [
            Curve(phase=1, metric="convergence_rate", steps=self.iterations, values=self.convergence),
            Curve(phase=1, metric="loss", steps=self.iterations, values=self.losses),
            Curve(phase=1, metric="seconds", steps=self.iterations, values=self.seconds),
            Curve(phase=1, metric="val_er", steps=self.er_steps, values=self.er_values),
            Curve(phase=2, metric="train_ppl", steps=self.epochs, values=self.train_ppls),
            Curve(phase=2, metric="val_ppl", steps=self.epochs, values=self.val_ppls),
            Curve(phase=2, metric="val_acc", steps=self.epochs, values=self.val_accs),
            Curve(phase=2, metric="seconds", steps=self.epochs, values=self.epoch_seconds),
        ]
        return tuple(curve for curve in found if len(curve.steps))

    def _best(self) -> tuple[int | None, float | None, float | None, float | None]:
        """(epoch, val_ppl, val_acc, train_ppl): as the log sums up, else of the best epoch so far."""
        epoch, val_ppl, val_acc = self.best if self.best else (None, None, None)
        if epoch is None and self.epochs:
            finite = [i for i, value in enumerate(self.val_ppls) if isfinite(value)]
            index = min(finite, key=self.val_ppls.__getitem__) if finite else len(self.epochs) - 1
            epoch, val_ppl, val_acc = self.epochs[index], self.val_ppls[index], self.val_accs[index]
        if self.best is None and self.result:
            val_ppl, val_acc = self.result
        train_ppl = next((p for e, p in zip(self.epochs, self.train_ppls, strict=True) if e == epoch), None)
        return epoch, val_ppl, val_acc, train_ppl

    def _rate(self) -> float | None:
        if self.rate is not None or not self.convergence:
            return self.rate
        return None if isnan(self.convergence[-1]) else self.convergence[-1]

    def _parameters(self) -> dict[str, int | None]:
        at, trainable, total = self.setting, self.trainable, self.total
        if trainable is None or total is None or at.embed_dim is None or at.vocab_size is None:
            return {"params_phase1": None, "params_phase2": None, "params_trainable": trainable, "params_total": total}
        phase1 = total - trainable - at.embed_dim * at.vocab_size
        phase2 = trainable - EMBEDDING_NORM * at.embed_dim
        sane = phase1 > 0 and phase2 > 0
        return {
            "params_phase1": phase1 if sane else None, "params_phase2": phase2 if sane else None,
            "params_trainable": trainable, "params_total": total,
        }


def _total(stated: float | None, steps: Iterable[float], beside: float = 0.0) -> float | None:
    """The seconds of a phase: as the log states them, or of its steps as far as they were measured, and beside them."""
    measured = [value for value in steps if not isnan(value)]
    return round(sum(measured) + beside, 1) if stated is None and measured else stated


def final_er(stated: Any, checks: Sequence[float | None]) -> Any:
    """The last of the checks where a log sums up with the best of them, to the digits it prints; else what it says."""
    is_best = isinstance(stated, float) and round(stated, 3) == max((each for each in checks if each), default=None)
    return checks[-1] if is_best else stated


def fingerprint(columns: dict[str, Any]) -> str | None:
    """The figures of a run to the digits a log prints; None if they are too few to tell two runs apart."""

    def shown(name: str, digits: int, scale: float = 1.0) -> str:
        value = columns.get(name)
        return "-" if not isinstance(value, int | float) else f"{value * scale:.{digits}f}"

    figures = [
        shown("train_er", 1, 100), shown("val_er", 1, 100), shown("train_ppl", 1), shown("val_ppl", 1),
        shown("val_acc", 1, 100),
    ]
    if sum(figure != "-" for figure in figures) < 4 or columns.get("variant") is None:
        return None
    known = [str(columns.get(name)) for name in ("variant", "num_samples", "train_tokens", "phase1_iterations")]
    return "newllm " + " ".join(known + figures)
