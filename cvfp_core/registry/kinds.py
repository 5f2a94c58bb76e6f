"""The frozen values plugins hand over, one class a kind of item.

A new kind is a class here and a hook in `hookspecs`. `KIND` is what messages call its items, where that is not the
class's name in lower case. Only the standard library is imported here, so that a plugin's entry module stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cvfp_core.registry.lazy import lazy
from cvfp_core.schema.cells import Cell, Emit, Variant
from cvfp_core.schema.found import Found, Take
from cvfp_core.schema.jobs import Handle
from cvfp_core.schema.options import Option as Option
from cvfp_core.schema.options import Scalar
from cvfp_core.schema.quantities import Follows as Follows
from cvfp_core.schema.quantities import Quantity as Quantity
from cvfp_core.schema.settings import DEFAULT_ENDING, DEFAULT_OBJECTIVE, Phase1Settings

if TYPE_CHECKING:
    import lmfit
    import numpy as np
    import polars as pl
    import torch

    from cvfp_core.schema.claims import Finding
    from cvfp_core.schema.fits import Fit, Points
    from cvfp_core.schema.models import BlockedObjective, TwoPhaseModel


ENVELOPE = Option(name="envelope", default=None, help="weight of runs above the law: below 1 for the lower envelope of "
                  "runs some of which are under-tuned, such as 0.1")
"""Of a law that is a function: sets `above` of its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """How large a variant's model is: its parameters, and the numbers that training holds beside them."""

    params_phase1: int
    params_phase2: int
    activations_phase1: int = 0
    """Numbers kept for the gradient for every token of a batch of Phase 1."""
    activations_phase2: int = 0
    shared_phase1: int = 0
    """Numbers kept for every distinct token, of a model that offers `sharing`."""

    @property
    def trained(self) -> int:
        """Parameters of both phases."""
        return self.params_phase1 + self.params_phase2


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFamily:
    """A model family: how its variants are named and how one is built."""

    KIND: ClassVar[str] = "variant family"
    name: str
    title: str
    form: str
    """The names it answers to, as people read it: `{L}L_{d}d_{T}tok`."""
    parse: Callable[[str], Variant | None]
    build: Callable[[Variant, Mapping[str, Scalar | None], torch.Tensor, torch.Generator], TwoPhaseModel]
    """(variant, all options, frozen embeddings (V, d_e), CPU generator for the weights) -> model."""
    options: tuple[Option, ...] = ()
    check: Callable[[Variant, Mapping[str, Scalar | None]], None] | None = None
    """(variant, all options): raises UsageError for options that do not go with the variant; called before any run."""
    settle: (
        Callable[[Variant, Mapping[str, Scalar | None], int, Callable[[str], int]], Mapping[str, Scalar | None]] | None
    ) = None
    """(variant, all options, embed_dim, parameters of another variant by its name) -> all options, those that follow
    from others filled in; cells and records have these. Called after `check`; raises UsageError."""
    phases: Literal[1, 2] = 2
    """1: the family has no contexts to learn; Phase 1 is empty and its metrics stay null."""
    size: Callable[[Variant, Mapping[str, Scalar | None], int], ModelSize] | None = None
    """(variant, all options, embed_dim) -> how large the model is, by arithmetic, so that a grid is planned without
    torch. None: it is counted on the model, built without memory, which takes torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What Phase 1 minimises beside the movement of contexts: a term that keeps them apart; see `phase1.objective`.

    The core does the rest: its weight, the gradient by autograd, clipping, batches, curves and the record.

        Objective(name="spread", title="mean variance", form="-mean_j var_j",
                  loss=lambda contexts, previous, options: -contexts.var(dim=0, correction=0).mean())
    """

    name: str
    title: str
    form: str
    """What is minimised, as people write it; C (B x d) are the contexts of a batch, m their mean, X = C - m."""
    loss: Callable[[torch.Tensor, torch.Tensor, Mapping[str, Scalar | None]],
                   torch.Tensor | Mapping[str, torch.Tensor]]
    """(contexts (B, d), those of the same tokens in the iteration before (B, d), which are constants, all options) ->
    one number, or several by name that are added up; each name is a curve, and a column `objective_NAME` of the record.
    Writes into nothing it is given."""
    blocked: Callable[[Mapping[str, Scalar | None]], BlockedObjective] | None = None
    """The same by blocks of rows that stay in the cache, with its own gradient: (all options) -> one batch's loss."""
    options: tuple[Option, ...] = ()
    """What `--set objective.KEY=VALUE` sets."""
    cost: Literal["B d", "B d^2", "B^2 d"] = "B d"
    """Order of the operations of a batch; B: tokens of a batch, d: width of a context."""
    unmoved_by: tuple[Literal["order", "shift", "rotation", "scale"], ...] = ()
    """What may be done to the contexts without changing the loss: their order, one vector added to all, a rotation, a
    factor. The kit checks it."""
    source: str = ""


MCDL = Objective(
    name=DEFAULT_OBJECTIVE,
    title="distance from the mean (the published diversity term)",
    form="-norm(X) / B",
    loss=lazy("cvfp_core.protocol.mcdl:diversity_loss"),
    blocked=lazy("cvfp_core.protocol.mcdl:Blocks"),
    unmoved_by=("order", "shift", "rotation"),
    source="CVFP research, experiments v1 to v8",
)
"""The objective of the published protocol; there whichever plugins are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """Tokens of a training and a validation stream, and the frozen embeddings of their vocabulary."""

    name: str
    tokenizer: str
    vocab_size: int
    train_tokens: np.ndarray
    """(tokens,) int32: all training documents, joined by newlines."""
    document_ends: np.ndarray
    """(documents,) int64: tokens up to and including document i; the first n documents are a prefix."""
    val_tokens: np.ndarray
    embeddings: np.ndarray
    """(vocab_size, embed_dim) float32."""
    hash: str
    """Of everything the above is made from: texts, split, tokenizer, embedding recipe."""
    val_repeated: float | None = None
    """Share of the validation text that also stands in the training text; None: not measured."""
    left_out: str = ""
    """What lay beside the documents and was not read, in words; empty: nothing."""

    @property
    def num_documents(self) -> int:
        return len(self.document_ends)

    @property
    def embed_dim(self) -> int:
        return int(self.embeddings.shape[1])

    def sample(self, num_samples: int) -> np.ndarray:
        """(tokens,) of the first `num_samples` training documents."""
        return self.train_tokens[: int(self.document_ends[num_samples - 1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSource:
    """Where a corpus comes from. `load(options, cache_folder)` returns it; options are checked before, data after."""

    KIND: ClassVar[str] = "corpus"
    name: str
    title: str
    load: Callable[[Mapping[str, Scalar | None], Path], Corpus]
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings known by a name, as overrides of the defaults: `{"phase1": {"dist_reg_weight": 0.8}}`.

    Keys are those of a run file's `phase1`, `phase2` and `model`, and `precision`; a model option must be one of some
    installed family.
    """

    KIND: ClassVar[str] = "settings preset"
    name: str
    title: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A Markdown report: a Jinja template file and what it is for."""

    name: str
    title: str
    path: Path
    needs: tuple[str, ...] = ()
    """Record columns without which there is nothing to report."""
    options: tuple[Option, ...] | None = ()
    """What `--set` may give; None: anything."""
    catalogue: Path | None = None
    """Folder of its translations: `LANG/LC_MESSAGES/messages.mo`."""
    section_of: str = ""
    """Name of the template that it adds a section to, where that has a block `sections`; empty: none."""
    suits: Callable[[pl.DataFrame], bool] | None = None
    """Whether it suits these records. Where no template is named, the first that suits writes the report, in the order
    that `cvfp report --list` has them; None: only by name."""
    about: Callable[[pl.DataFrame], Mapping[str, Any]] | None = None
    """The `x`, `y`, `law` and `by` it is about where none is asked for; None: `val_ppl` over `train_tokens`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What an engine says of a job: workers that run and that wait; none of either: it has ended."""

    running: int
    waiting: int
    text: str = ""
    """Why workers wait, or how the job ended, in the engine's words."""

    @property
    def alive(self) -> bool:
        """Whether it has workers, or will have."""
        return self.running + self.waiting > 0

    def __str__(self) -> str:
        if not self.alive:
            return f"ended: {self.text}" if self.text else "ended"
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        return f"{self.running} running{waiting}{f' ({self.text})' if waiting and self.text else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """A way to have cells executed: here, in several processes, on other machines.

    `run(cells, folder, jobs, emit)` has `cvfp_core.running.execute.execute_cells(cells, folder, emit)` called, in as
    many places as it likes (jobs 0: as many as fit), and hands on every event; it returns when all cells are done.
    Workers given the same cells and folder share them out among themselves by locks. One that declares options is
    called as `run(cells, folder, jobs, emit, options)`; users set them by `--set executor.KEY=VALUE`.

    What becomes of cells whose workers die is decided where cells are executed, not here; an executor replaces workers.
    One whose engine goes on without this program has `submit`, `status` and `cancel`, all three, and may do without
    `run`: jobs are then followed through the store, where workers keep what they tell in a `Journal` of
    `cvfp_core.schema.jobs`. What a cell needs of a machine is told by `cvfp_core.running.needs`.
    """

    name: str
    title: str
    run: Callable[[Sequence[Cell], Path, int, Emit], None] | Callable[
        [Sequence[Cell], Path, int, Emit, Mapping[str, Scalar | None]], None] | None = None
    options: tuple[Option, ...] = ()
    submit: Callable[[Sequence[Cell], Path, int, Mapping[str, Scalar | None]], Handle] | None = None
    """(cells, folder, jobs, options) -> by what the engine finds the job again; returns when it is submitted. The store
    keeps the handle in `jobs/`."""
    status: Callable[[Handle], JobState] | None = None
    """What the engine says of the job."""
    cancel: Callable[[Handle], None] | None = None
    """Ends the job; of one that has ended, nothing. Raises CvfpError for one that is not the user's to end."""
    elsewhere: bool = False
    """Whether its workers run on other machines: then `device` is looked up there."""
    ahead: Callable[[], None] | None = None
    """Begins what takes time to start and returns at once; called before a grid of several cells is prepared."""

    def __post_init__(self) -> None:
        if len({self.submit is None, self.status is None, self.cancel is None}) > 1:
            raise ValueError(f"executor '{self.name}' has some of submit, status and cancel; give all three or none")
        if self.run is None and self.submit is None:
            raise ValueError(f"executor '{self.name}' has neither run nor submit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a law: its name, unit, meaning and the values it may take."""

    name: str
    meaning: str = ""
    unit: str = ""
    minimum: float = -inf
    maximum: float = inf
    prior: tuple[float, float] | None = None
    """Of an exponent, without its sign: median and standard deviation of its logarithm over published laws."""

    def __post_init__(self) -> None:
        if not self.minimum < self.maximum:
            raise ValueError(f"parameter '{self.name}': minimum {self.minimum} is not below maximum {self.maximum}")
        if self.prior is not None and not min(self.prior) > 0:
            raise ValueError(f"parameter '{self.name}': median and spread of a prior are above 0, not {self.prior}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquares:
    """What is minimised: the sum of squared residuals."""

    above: float = 1.0
    """Weight of runs above the law. Below 1 the law follows the lower envelope, as where some runs are under-tuned."""

    def __post_init__(self) -> None:
        _in_unit("LeastSquares", self.above)


@dataclass(frozen=True, slots=True)
class Huber:
    """What is minimised: the sum of Huber losses, r^2 / 2 up to delta and straight beyond. Source: arXiv:2203.15556."""

    delta: float = 1e-3
    above: float = 1.0
    """As of `LeastSquares`."""

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"Huber: delta must be above 0, not {self.delta:g}")
        _in_unit("Huber", self.above)


def _in_unit(name: str, above: float) -> None:
    if not 0 < above <= 1:
        raise ValueError(f"{name}: above must be in (0, 1], not {above:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A law: a function of quantities with named parameters. Or code of its own, given by `fit`, or an lmfit model.

    The core gives a function all the rest: a global optimum without start values, intervals, selection, back-test,
    forecast at any point, figures. With `fit` too, that makes the fits and the function predicts.

        Law(name="chinchilla", form="L = E + A / N^alpha + B / D^beta", inputs=("params", "train_tokens"),
            response="val_loss", loss=Huber(), linear=("E", "A", "B"), floor="E", parameters=(...),
            function=lambda params, train_tokens, E, A, alpha, B, beta: E + A / params**alpha + B / train_tokens**beta)
    """

    name: str
    title: str = ""
    form: str
    """As people write it: `PPL = E + A * tokens^alpha`."""
    parameters: tuple[Parameter, ...] = ()
    """Of an lmfit model they follow from the model."""
    scope: Literal["series", "experiment", "records"] | None = None
    """What one fit is made from: a series, all series of an experiment, or all records.

    By default a series for a curve, all records for a surface.
    """
    inputs: tuple[str, ...] = ("train_tokens",)
    """Quantities the law is a function of; `{option}` stands for the one an option names. `--x` renames a curve's."""
    response: str = "val_ppl"
    """Quantity the law explains; `--y` renames it."""
    space: Literal["log", "raw"] = "log"
    """Where residuals are taken: of the logarithm, or of the response itself."""
    loss: LeastSquares | Huber = field(default_factory=LeastSquares)
    minimum_points: int | None = None
    """Sizes (or rows, beyond a series) below which there is nothing to fit; by default the number of parameters."""
    floor: str | None = None
    """The parameter that is the limit at infinite data; None: there is none but zero."""
    function: Callable[..., Any] | None = None
    """`function(**inputs, **parameters)` -> response, with numpy arrays that broadcast."""
    linear: tuple[str, ...] = ()
    """Parameters the function is linear in; they are then solved for, not searched."""
    starts: Callable[..., Mapping[str, Any]] | None = None
    """`starts(**inputs)` -> values to search from, for every parameter not in `linear`; by default from the bounds."""
    model: Callable[[], lmfit.Model] | None = None
    """In place of a function: returns an lmfit model. Its independent variables are the inputs."""
    fit: Callable[[Points, Mapping[str, Scalar | None]], Sequence[Fit]] | None = None
    """Code of its own: (points, options) -> one fit or several; called with points that passed all checks."""
    options: tuple[Option, ...] = ()
    source: str = ""
    """Where the law is published: `arXiv:2203.15556, approach 3`."""
    domain: str = ""
    """Where it holds, in words: `fresh tokens, no repetitions`."""
    not_for: str = ""
    """What it is the wrong law for, in words, with the better one: `repeated data: data-repeated`."""
    automatic: bool = True
    """Whether it is tried unasked: by `auto`, and in reports."""
    zero: tuple[str, ...] = ()
    """Inputs that may be 0, though they are sizes."""

    def __post_init__(self) -> None:
        if self.function is None and self.fit is None and self.model is None:
            raise ValueError(f"law '{self.name}': give `function` (a law), `model` (of lmfit) or `fit` (code of its "
                             "own)")
        names = [parameter.name for parameter in self.parameters]
        unknown = sorted({*self.linear, *([self.floor] if self.floor else [])} - set(names))
        if self.model is None and (unknown or len(set(names)) < len(names)):
            raise ValueError(f"law '{self.name}': parameters {names} do not cover {unknown} or repeat a name")
        known = [option.name for option in self.options]
        for column in (*self.inputs, self.response):
            for _, place, _, _ in Formatter().parse(column):
                if place is not None and place not in known:
                    raise ValueError(f"law '{self.name}': '{column}' stands for the column that option '{place}' "
                                     f"names, and its options are: {', '.join(known) or 'none'}")
        if self.scope is None:
            object.__setattr__(self, "scope", "series" if len(self.inputs) == 1 else "records")

    @property
    def least_points(self) -> int:
        """Sizes (or rows) below which there is nothing to fit."""
        return len(self.parameters) if self.minimum_points is None else self.minimum_points

    @property
    def written(self) -> str:
        """The form with the defaults of the options in their places."""
        form = self.form
        for option in self.options:
            form = form.replace(f"{{{option.name}}}", str(option.default))
        return form

    @property
    def predicts(self) -> bool:
        """Whether it is a function, so that it can be drawn, compared and asked for other inputs."""
        return self.function is not None or self.model is not None


Fitter = Law
"""The name of 0.1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A question asked of records and fits: what is claimed, and whether the data says so.

    `analyse(records, fits)` gets the usable runs (see `matched.usable`) and the fits of `laws`, and returns findings;
    the core corrects them for their number, over all analyses. It is not called if no run has one of the columns. A
    question about lights is asked by `analyse_lights`, in its place or beside it.
    """

    name: str
    title: str
    """The question, as a reader asks it."""
    analyse: Callable[[pl.DataFrame, Sequence[Fit]], Iterable[Finding]] | None = None
    analyse_lights: Callable[[pl.DataFrame, Sequence[Light]], Iterable[Finding]] | None = None
    """(records, lights) -> findings; gets every light that is installed, whichever plugin it comes from."""
    columns: tuple[str, ...] = ("val_ppl",)
    """Record columns without which there is nothing to analyse."""
    controls: bool = False
    """Whether it gets the runs of controls too; if not, it sees them only where there are no others."""
    laws: tuple[str, ...] = ()
    """Names of the laws whose fits it reads."""

    def __post_init__(self) -> None:
        if self.analyse is None and self.analyse_lights is None:
            raise ValueError(f"analysis '{self.name}': give `analyse`, or `analyse_lights` if it asks about lights")


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A judgement of a finished Phase 1 by one metric: green, yellow or red, before Phase 2 is paid for."""

    name: str
    """As thresholds are overridden: `val_er.red=0.7`."""
    title: str
    metric: str
    """A record column, or the difference of two: `train_er - val_er`. `cvfp check` warns of one that is not there."""
    better: Literal["higher", "lower"]
    green: float
    """Better than this is green; if lower is better, this itself is too."""
    red: float
    """Worse than this is red; what is neither is yellow."""
    percent: bool = False
    """The metric is a fraction that people quote in percent."""

    def __post_init__(self) -> None:
        if (self.green < self.red) if self.better == "higher" else (self.green > self.red):
            raise ValueError(f"light '{self.name}': red {self.red:g} must be worse than green {self.green:g}, "
                             f"as {self.better} is better")


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """What one iteration of Phase 1 measured; None: not measured."""

    iteration: int
    convergence_rate: float | None = None
    loss: float | None = None
    cvfp_loss: float | None = None
    diversity_loss: float | None = None
    """The diversity term, of the run's objective."""
    val_er: float | None = None
    """Measured only at the iterations that a stop rule or the ending asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What ends Phase 1, so that Phase 2 follows; see `phase1.ending`. A stop rule ends the whole run instead.

    Asked after every iteration. `phase1.max_iterations` ends Phase 1 in any case. Whatever ends it, a run whose
    contexts have not converged by then is marked as cut short.

        Ending(name="slow", title="contexts hardly move", ends=lambda iterations, settings, options:
               iterations[-1].cvfp_loss < options["below"], options=(Option(name="below", default=0.01, help=""),))
    """

    name: str
    title: str
    ends: Callable[[Sequence[Iteration], Phase1Settings, Mapping[str, Scalar | None]], bool]
    """(all iterations from the second on, settings, all options) -> whether Phase 1 ends here."""
    val_er_at: Callable[[int, Mapping[str, Scalar | None]], bool] | None = None
    """(iteration, all options) -> whether it needs the effective rank of the validation contexts; None: never."""
    keeps: Callable[[Sequence[Iteration], Mapping[str, Scalar | None]], bool] | None = None
    """(iterations, all options) -> whether Phase 2 takes the contexts of this last one unless later ones are kept too;
    None, or where it never did: those of the last iteration."""
    options: tuple[Option, ...] = ()
    """What `--set ending.KEY=VALUE` sets."""
    source: str = ""


CONVERGED = Ending(
    name=DEFAULT_ENDING,
    title="contexts have converged (the published protocol): phase1.converged_ratio, after phase1.min_iterations",
    ends=lazy("cvfp_core.protocol.ending:converged"),
    source="CVFP research, experiments v1 to v8",
)
"""The ending of the published protocol; there whichever plugins are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Underway:
    """A run in Phase 2 and the runs that it may be compared with."""

    record: pl.DataFrame
    """One row: what its record will say, as far as that is known."""
    curves: pl.DataFrame
    """In `records.CURVE_SCHEMA`, up to the last epoch."""
    earlier: Callable[[], tuple[pl.DataFrame, pl.DataFrame]]
    """Records and curves of the cells that stand before it in the grid; waits until those have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """A reason to end a run early: in Phase 1 by `stops`, before it has converged, or in Phase 2 by `ends`.

    `stops(iterations)` is asked after every iteration, with all there were; `ends(underway)` after every epoch. Either
    returns why to stop, or None to go on. What a rule says must follow from what it is given alone: then a grid gives
    the same records in however many processes it is run, and however often it is interrupted.
    """

    KIND: ClassVar[str] = "stop rule"
    name: str
    title: str
    stops: Callable[[Sequence[Iteration]], str | None] | None = None
    val_er_at: tuple[int, ...] = ()
    """Iterations after which it needs the effective rank of the validation contexts."""
    ends: Callable[[Underway], str | None] | None = None

    def __post_init__(self) -> None:
        if self.stops is None and self.ends is None:
            raise ValueError(f"stop rule '{self.name}': give `stops` (Phase 1) or `ends` (Phase 2)")


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """What a user says about the input."""

    experiment: str | None = None
    """Label for all runs, instead of the one the input gives itself."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Record column -> what it is made from; applied to every row after the ingester."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """Settings known by a name, of all plugins."""
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    """Quantities that plugins declare, by name."""
    take: Take = field(default_factory=Take)
    """Which point of a run's curves its record is of."""
    root: Path | None = None
    """The folder that was given, if the input was found in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Why an ingester does not read a file that resembles what it reads."""

    why: str
    """What of its form is there, and what is not."""
    known: int
    """How many different things it knows in it; the ingester that knows most is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingester:
    """A way to read runs that were made elsewhere.

    `matches(path, head)` looks at content: `head` is the first 64 KiB of a file, or None for a folder.
    `read(path, options)` yields what it finds, as a stream; it raises IngestError where the input is malformed, and
    nothing of that input is then kept.
    """

    name: str
    title: str
    matches: Callable[[Path, bytes | None], bool]
    read: Callable[[Path, IngestOptions], Iterator[Found]]
    general: bool = False
    """True: reads anything of a general form (a table); asked only where no other ingester knows the content."""
    parts: Callable[[Path], Collection[Path]] | None = None
    """Of a folder that it knows, the entries it reads; the others are looked at as ever. None: it reads all."""
    near: Callable[[Path, bytes], Declined | None] | None = None
    """Of a file that no ingester knows, by its first 64 KiB: what it lacks; None: it is like nothing it reads."""
