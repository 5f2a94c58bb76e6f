"""TensorBoard event files: the scalars of one run, which is a folder, read as a stream."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting import configs, histories, naming, tags
from cvfp_core.ingesting.histories import History
from cvfp_core.ingesting.lines import first_bytes
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, Remark, Tally

_EVENTS = "*tfevents*"
_TIME = re.compile(r"\d{10}(?:\.\d+)?")
"""Folders in which writers put a run's hyper-parameters, named by the time."""
_SPLITS = ("train", "training", "validation", "val", "eval", "test")


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file holds events, or a folder files of events, its own or those of its training and validation."""
    if head is not None:
        return b"brain.Event:" in head[:128]
    return any(matches(file, first_bytes(file, 128)) for file in _files(path))


def parts(path: Path) -> Collection[Path]:
    """The event files of a folder; of one that has none, its folders named after training and validation data."""
    own = sorted(each for each in path.glob(_EVENTS) if each.is_file())
    if own:
        return own + sorted(each.parent for each in path.glob(f"[0-9]*/{_EVENTS}") if _TIME.fullmatch(each.parent.name))
    splits = [path / name for name in _SPLITS if next((path / name).glob(_EVENTS), None)]
    return splits if len(splits) > 1 else []


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The run: of every scalar the value asked for, and all as curves. Raises CvfpError without the extra."""
    history = History()
    settings: dict[str, Any] = {}
    scalars = others = 0
    for part in [path] if path.is_file() else parts(path):
        for file in [part] if part.is_file() else sorted(part.glob(_EVENTS)):
            for step, tag, value in _scalars(file, settings):
                if tag is None:
                    others += 1
                    continue
                scalars += 1
                prefix = f"{part.name}/" if part.name in _SPLITS and tags.quantities((tag,)) else ""
                history.add(step, {prefix + tag: value})
    if history and not tags.validation(history.names):
        yield Remark(text=f"no tag is known as a validation metric; there are: {', '.join(history.names[:8])}; say "
                          f"what one is: --map val_loss={history.names[0]}")
    settings |= {quantity: settings[name] for quantity, name in configs.quantities(settings).items()}
    yield histories.run(history, options.take, settings | naming.run(path, options))
    yield Tally(curve=scalars, noise=others)


def _files(path: Path) -> list[Path]:
    return [file for part in parts(path) for file in ([part] if part.is_file() else sorted(part.glob(_EVENTS)))]


def _scalars(file: Path, settings: dict[str, Any]) -> Iterator[tuple[int, str | None, float]]:
    """(step, tag, value) of every scalar in a file; an event without one has no tag. Fills in the hyper-parameters."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError:
        raise CvfpError("reading event files takes the extra 'tensorboard': pip install 'cvfp[tensorboard]'") from None
    for event in EventFileLoader(str(file)).Load():
        found = False
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                settings |= _hyperparameters(value.metadata.plugin_data.content)
            if value.metadata.plugin_data.plugin_name not in ("scalars", ""):
                continue
            if value.HasField("simple_value"):
                number = float(value.simple_value)
            elif value.HasField("tensor") and not value.tensor.tensor_shape.dim:
                number = float(tensor_util.make_ndarray(value.tensor).item())
            else:
                continue
            found = True
            yield event.step, value.tag, number
        if not found:
            yield event.step, None, 0.0


def _hyperparameters(content: bytes) -> dict[str, Any]:
    """The settings of a run as the plugin for hyper-parameters keeps them; none if it is damaged."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        said = HParamsPluginData.FromString(content).session_start_info.hparams
    except DecodeError:
        return {}
    return {str(name): getattr(value, kind) for name, value in said.items() if (kind := value.WhichOneof("kind"))
            in ("number_value", "string_value", "bool_value")}
