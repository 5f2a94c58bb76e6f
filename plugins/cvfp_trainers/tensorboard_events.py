"""TensorBoard event files: scalars of one run, read as a stream."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

from cvfp_core.errors import CvfpError
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Curve, Found, FoundRun, NotUnderstood, Tally
from cvfp_trainers import figures


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The file's run: the last value of every scalar, and all as curves. Raises CvfpError without the extra."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError:
        raise CvfpError("reading event files takes the extra 'tensorboard': pip install 'cvfp[tensorboard]'") from None
    steps: dict[str, array[int]] = {}
    values: dict[str, array[float]] = {}
    scalars = others = 0
    for event in EventFileLoader(str(path)).Load():
        taken = False
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name not in ("scalars", ""):
                continue
            if value.HasField("simple_value"):
                number = float(value.simple_value)
            elif value.HasField("tensor") and not value.tensor.tensor_shape.dim:
                number = float(tensor_util.make_ndarray(value.tensor).item())
            else:
                continue
            steps.setdefault(value.tag, array("q")).append(event.step)
            values.setdefault(value.tag, array("d")).append(number)
            taken = True
        scalars, others = scalars + taken, others + (not taken)
    folder = figures.folder_of_run(path)
    if steps:
        final = {tag: numbers[-1] for tag, numbers in values.items()}
        yield FoundRun(
            line=1,
            columns={"variant": folder.name, "experiment": options.experiment or folder.parent.name or "tensorboard",
                     **figures.columns(final)},
            curves=tuple(Curve(phase=2, metric=tag, steps=steps[tag], values=values[tag]) for tag in steps),
        )
    else:
        yield NotUnderstood(line=1, expected="events with scalars", found=f"{others} events without")
    yield Tally(curve=scalars, noise=others)
