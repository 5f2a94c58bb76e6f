"""What a run has: every quantity declared once, and the record made of those that come with cvfp.

Ranges, headings, aliases, the record schema and docs/quantities.md follow from these declarations. Standard library
only, so that a plugin's entry module can declare its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from math import inf, isfinite
from typing import Any, Literal

Status = Literal["ok", "diverged", "failed", "interrupted"]
Kind = Literal["identity", "size", "setting", "metric", "cost", "provenance"]
DType = Literal["float", "int", "bool", "str"]
SIX_N_D = "6ND"
POWERS = {letter: 10.0**power for letters, power in (("kK", 3), ("mM", 6), ("bBgG", 9), ("tT", 12))
          for letter in letters}
"""What the letter after a number multiplies it by: 7B, 50m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """How a quantity follows from others where it was not measured."""

    expression: str
    """Over other quantities, as `--map` takes it: `exp(val_loss)`; or a setting of the protocol: `phase2.epochs`."""
    phases: bool | None = None
    """True: only of runs that have phases, which cvfp made; False: only of runs that have none; None: of any."""
    convention: str | None = None
    """Only where the record's `flops_convention` says so."""

    def plainly_from(self, columns: Collection[str]) -> bool:
        """Whether it holds of any run that has these columns."""
        words = set(re.findall(r"[A-Za-z_]\w*(?!\w*\()", self.expression))
        return self.phases is None and self.convention is None and words <= set(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A named thing that a run has: what it means, which values it may take, and how it is fitted."""

    name: str
    meaning: str = ""
    kind: Kind = "metric"
    unit: str = ""
    dtype: DType = "float"
    minimum: float | None = None
    exclusive: bool = False
    """The minimum itself is out of range."""
    maximum: float | None = None
    aliases: tuple[str, ...] = ()
    """Names that tables use for it, the surest first. In names of two letters or more capitals, punctuation and the
    order of words do not count; `n` is read as `num`, `parameters` as `params`, `validation` and `eval` as `val`."""
    better: Literal["lower", "higher"] | None = None
    scale: Literal["log", "raw"] = "log"
    """The scale it is fitted on."""
    label: str = ""
    """How headings call it; by default its name."""
    follows: tuple[Follows, ...] = ()
    censored_by: str = ""
    """The true-or-false quantity that marks its values of runs that were cut short, which are limits only."""

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable() or self.name.startswith("_"):
            raise ValueError(f"quantity {self.name!r}: a name is a text of one line that does not begin with '_'")
        if self.minimum is not None and self.maximum is not None and not self.minimum < self.maximum:
            raise ValueError(f"quantity '{self.name}': minimum {self.minimum:g} is not below maximum {self.maximum:g}")

    @property
    def percent(self) -> bool:
        """Whether it is a fraction, which people quote in percent."""
        return self.unit.startswith("fraction")

    @property
    def outcome(self) -> bool:
        """Whether a value that is not finite means that the run diverged, and not that the value is wrong."""
        return self.kind == "metric" and self.better == "lower"

    @property
    def heading(self) -> str:
        """As tables and axes call it: `Val ER (%)`."""
        return f"{self.label or self.name}{' (%)' if self.percent else ''}"

    def allows(self, value: float) -> bool:
        """Whether the value is finite and in the range."""
        low = -inf if self.minimum is None else self.minimum
        high = inf if self.maximum is None else self.maximum
        return isfinite(value) and (low < value if self.exclusive else low <= value) and value <= high

    @property
    def range(self) -> str:
        """Which values it may take, in words that follow `must`; empty: any."""
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f"be {'a fraction ' if self.percent else ''}from {low:g} to {high:g}"
        if low == 0 and not self.exclusive:
            return "not be negative"
        if low is not None:
            return f"be {'above' if self.exclusive else 'at least'} {low:g}"
        return "" if high is None else f"be at most {high:g}"


def _declared(kind: Kind, meaning: str, unit: str, facts: Mapping[str, Any], default: Any = None) -> Any:
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "unit": unit, **facts})


def identity(meaning: str, unit: str = "", *, default: Any = None, **facts: Any) -> Any:
    """A record field that says which run it is."""
    return _declared("identity", meaning, unit, facts, default)


def size(meaning: str, unit: str = "", **facts: Any) -> Any:
    """A record field for how large something of the run is: above 0, of any magnitude."""
    return _declared("size", meaning, unit, {"minimum": 0, "exclusive": True} | facts)


def setting(meaning: str, unit: str = "", **facts: Any) -> Any:
    """A record field for what the run was made with."""
    return _declared("setting", meaning, unit, facts)


def metric(meaning: str, unit: str = "", **facts: Any) -> Any:
    """A record field for what the run measured."""
    return _declared("metric", meaning, unit, facts)


def phase2_metric(meaning: str, unit: str = "", **facts: Any) -> Any:
    """A record field for a metric of the best epoch, which is cut short where that is the last one allowed."""
    return metric(meaning, unit, censored_by="phase2_censored", **facts)


def fraction(meaning: str, unit: str = "fraction", **facts: Any) -> Any:
    """A record field for a metric from 0 to 1, fitted as it is."""
    return _declared("metric", meaning, unit, {"minimum": 0, "maximum": 1, "scale": "raw"} | facts)


def cost(meaning: str, unit: str = "", **facts: Any) -> Any:
    """A record field for what the run took: not negative."""
    return _declared("cost", meaning, unit, {"minimum": 0} | facts)


def provenance(meaning: str, unit: str = "", *, default: Any = None) -> Any:
    """A record field for where the record comes from."""
    return _declared("provenance", meaning, unit, {}, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The row of metrics a run leaves. None means "not measured"; fractions are fractions, not percentages.

    A field is the declaration of its column, and the only place where it stands.
    """

    # identity
    run_id: str = identity("name and hash of the cell", default=MISSING)
    experiment: str = identity("label of runs made under the same settings", default=MISSING)
    variant: str | None = identity("configuration, such as 1L_768d_2tok; null: the experiment says it all")
    family: str | None = identity("model family")
    num_layers: int | None = size("layers of the context block and of the token block", label="layers",
                                  aliases=("n_layers", "n_layer", "depth"))
    context_dim: int | None = size("width of a context vector; of a model without contexts, its own",
                                   aliases=("model_dim", "d_model", "n_embd"))
    embed_dim: int | None = size("width of a token embedding")
    num_input_tokens: int | None = size("tokens in the input window")
    num_experts: int | None = size("experts of a mixture; 1: dense", aliases=("n_experts", "experts"))
    seed: int | None = identity("seed of weights and noise", aliases=("random_seed",))
    settings: str | None = setting("protocol settings as JSON")
    learning_rate: float | None = setting("peak learning rate", minimum=0, aliases=("lr",))
    batch_tokens: float | None = setting("tokens in a batch", "tokens", minimum=0, exclusive=True)
    # data
    corpus: str | None = setting("corpus source")
    corpus_hash: str | None = setting("hash of texts, split, tokenizer and embeddings")
    tokenizer: str | None = setting("tokenizer")
    vocab_size: int | None = size("entries of the vocabulary", aliases=("n_vocab",))
    num_samples: float | None = size("training documents; 0: not tuned", "documents", label="samples", exclusive=False)
    train_tokens: float | None = size(
        "tokens of the training corpus, each counted once however often it is seen; the D of laws", "tokens",
        label="train tokens", aliases=(
            "n_tokens", "num_tokens", "training_tokens", "tokens_trained", "tokens", "D"), follows=(
            Follows(expression="flops / (6 * params)", convention=SIX_N_D, phases=False),))
    tokens_seen: float | None = size(
        "tokens trained on, repetitions counted", "tokens", label="tokens seen",
        aliases=("total_tokens", "num_input_tokens_seen"),
        follows=(Follows(expression="train_tokens * epochs", phases=True),))
    unique_tokens: float | None = size("distinct tokens of the corpus trained on, repetitions not counted", "tokens",
                                       label="unique tokens", follows=(
                                           Follows(expression="train_tokens", phases=True),))
    val_tokens: int | None = size("validation tokens", "tokens")
    unigram_ppl: float | None = metric("validation perplexity of the training unigram model", minimum=1,
                                       label="unigram PPL")
    # phase 1
    phases: int | None = setting("phases the model has; 1: it has no contexts, so Phase 1 is empty")
    phase1_mode: str | None = setting("trained, or a control: untrained, zero-context; null for one phase")
    objective: str | None = setting("what Phase 1 minimised beside the movement of contexts; null for one phase")
    ending: str | None = setting("what was to end Phase 1; null for one phase")
    phase1_iterations: int | None = metric("iterations until converged or stopped", minimum=0, label="P1 iter",
                                           censored_by="phase1_censored")
    phase1_censored: bool | None = metric("ended before converging, whatever ended it: the count is a lower bound")
    context_iteration: int | None = metric("iteration whose contexts Phase 2 took; null where it is the last one",
                                           minimum=2)
    convergence_rate: float | None = fraction("tokens whose context moved less than the threshold", better="higher")
    cvfp_loss: float | None = metric("mean squared movement of contexts in the last iteration", minimum=0)
    diversity_loss: float | None = metric("diversity term in the last iteration; null where it is not mcdl's",
                                          scale="raw")
    objective_loss: float | None = metric("diversity term in the last iteration, of the run's objective; those of two "
                                          "objectives do not compare", scale="raw")
    train_er: float | None = fraction("effective rank of the last sweep's contexts", "fraction of context_dim",
                                      label="Train ER", better="higher")
    val_er: float | None = fraction("effective rank of the validation contexts", "fraction of context_dim",
                                    label="Val ER", better="higher")
    # phase 2
    epochs: float | None = size("epochs trained", exclusive=False)
    max_epochs: int | None = setting("epochs allowed", minimum=1, aliases=("epoch_limit", "num_train_epochs"),
                                     follows=(Follows(expression="phase2.epochs"),))
    best_epoch: int | None = metric("epoch the figures below are of", minimum=0)
    phase2_censored: bool | None = metric("the best epoch is the last one allowed",
                                          follows=(Follows(expression="best_epoch >= max_epochs"),))
    train_loss: float | None = phase2_metric(
        "training loss, cross-entropy", "nat a token", minimum=0, better="lower", label="Train loss",
        aliases=("training_loss",), follows=(Follows(expression="log(train_ppl)"),))
    val_loss: float | None = phase2_metric(
        "validation loss, cross-entropy", "nat a token", minimum=0, better="lower", label="Val loss",
        aliases=("validation_loss", "loss_validation", "eval_loss", "test_loss", "heldout_loss", "final_loss", "loss",
                 "cross_entropy", "L"), follows=(Follows(expression="log(val_ppl)"),))
    val_bpb: float | None = phase2_metric("validation loss in bits a byte", "bit a byte", minimum=0, better="lower",
                                          label="Val BPB", aliases=("bpb", "bits_per_byte", "eval_bpb"))
    train_ppl: float | None = phase2_metric("training perplexity, mean over the epoch while training", minimum=1,
                                            better="lower", label="Train PPL", aliases=("train_perplexity",),
                                            follows=(Follows(expression="exp(train_loss)"),))
    val_ppl: float | None = phase2_metric(
        "validation perplexity", minimum=1, better="lower", label="Val PPL",
        aliases=("val_perplexity", "validation_perplexity", "eval_ppl", "eval_perplexity", "perplexity", "ppl"),
        follows=(Follows(expression="exp(val_loss)"),))
    val_acc: float | None = fraction("validation tokens predicted first", label="Val Acc", better="higher",
                                     aliases=("val_accuracy", "validation_accuracy", "eval_accuracy"),
                                     censored_by="phase2_censored")
    # cost
    params: float | None = size(
        "trained parameters; the N of laws", label="params",
        aliases=("n_params", "parameters", "total_params", "parameter_count", "model_size", "N"), follows=(
            Follows(expression="params_phase1 + params_phase2", phases=True),
            Follows(expression="flops / (6 * tokens_seen)", convention=SIX_N_D, phases=False),
            Follows(expression="flops / (6 * train_tokens)", convention=SIX_N_D, phases=False)))
    params_non_embedding: float | None = size("trained parameters but for embeddings", aliases=(
        "non_embedding_params", "params_no_embedding", "n_params_non_embedding", "non_vocab_params"))
    params_phase1: float | None = size("parameters Phase 1 trains", exclusive=False)
    params_phase2: float | None = size("parameters Phase 2 trains", exclusive=False)
    flops: float | None = size(
        "estimate: 6 per trained parameter and token, 2 forward only, plus the head; each parameter once a token, also "
        "of a model that takes its window position by position", "FLOP", exclusive=False, label="FLOPs",
        aliases=("flop", "training_flops", "total_flops", "compute", "train_compute", "flops_budget", "C"),
        follows=(
            Follows(expression="6 * params * tokens_seen", convention=SIX_N_D, phases=False),
            Follows(expression="6 * params * train_tokens", convention=SIX_N_D, phases=False)))
    flops_convention: str | None = provenance(
        "what the source says of its FLOPs: 6ND, then parameters, tokens and FLOPs follow from each other")
    seconds_phase1: float | None = cost("wall time of Phase 1 with validation contexts and ranks", "s")
    seconds_iteration: float | None = cost("median time of an iteration of Phase 1: CPU time on a CPU, else wall time",
                                           "s")
    seconds_phase2: float | None = cost("wall time of Phase 2", "s")
    peak_memory: int | None = cost("peak memory: device memory on CUDA, resident set on Linux CPUs", "bytes")
    device: str | None = provenance("what it ran on")
    tuning: str | None = provenance("library of its products on a CPU, and the sizes of the blocks they are made in")
    # provenance
    status: Status = provenance("ok, diverged, failed or interrupted", default="ok")  # noqa: RUF009
    reason: str | None = provenance("why the status is not ok")
    taken_at: str | None = provenance("point of its curves that a foreign run's figures are of: last, step 200")
    stopped_by: str | None = provenance("stop rule that ended the run")
    derived: str | None = provenance("what was not measured, and what it follows from: val_ppl = exp(val_loss)")
    source: str | None = provenance("where the record comes from: program, or file, format, ingester, plugin version")
    family_source: str | None = provenance("distribution and version the model family came from")
    objective_source: str | None = provenance("distribution and version the objective came from")
    ending_source: str | None = provenance("distribution and version the ending of Phase 1 came from")
    created: str | None = provenance("when the record was made", "UTC, ISO 8601")
    host: str | None = provenance("machine that made the record")
    attempts: int | None = provenance("times the run was begun until there was a record")
    lost_workers: int | None = provenance("times its worker was killed, or its machine lost")


def _of_record() -> dict[str, Quantity]:
    types: dict[str, DType] = {"str": "str", "int": "int", "float": "float", "bool": "bool", "Status": "str"}
    return {each.name: Quantity(name=each.name, dtype=types[str(each.type).removesuffix(" | None")],
                                **each.metadata) for each in fields(Record)}


QUANTITIES: dict[str, Quantity] = _of_record()
"""The quantities that come with cvfp, which are the columns of a record, by name."""


def of(name: str, declared: Mapping[str, Quantity] | None = None) -> Quantity:
    """The quantity of that name; one that nobody declared is a metric without limits, fitted in logarithms.

    declared: what plugins declare, by name, as `registry.items(Quantity)` has it.
    """
    return QUANTITIES.get(name) or (declared or {}).get(name) or Quantity(name=name)
