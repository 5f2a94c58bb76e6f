"""Curves on their way in: kept in memory while they are few, in temporary files when they are many."""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl

from cvfp_core.errors import unwritten
from cvfp_core.schema.found import Curve
from cvfp_core.schema.records import CURVE_SCHEMA

_PART = 200_000
"""Points in a part; about 5 MB in memory."""
_IN_MEMORY = 2
"""Parts kept before the rest goes to disk."""


class Spool:
    """Points of curves by the number of their run, appended once and read as frames."""

    def __init__(self) -> None:
        self._metrics: dict[str, int] = {}
        self._parts: list[pl.DataFrame | Path] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._clear()

    def add(self, run: int, curves: tuple[Curve, ...]) -> None:
        """Appends the curves of one run."""
        for curve in curves:
            size = len(curve.steps)
            code = self._metrics.setdefault(curve.metric, len(self._metrics))
            self._runs.extend(array("Q", [run]) * size)
            self._phases.extend(array("b", [curve.phase]) * size)
            self._codes.extend(array("H", [code]) * size)
            self._steps.extend(curve.steps)
            if isinstance(curve.values, array):
                self._values.extend(curve.values)
            else:
                self._values.extend(float("nan") if value is None else value for value in curve.values)
        if len(self._runs) >= _PART:
            self._close()

    def frames(self, runs: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The curves of the runs that are kept, in the curve schema, part by part; every run is whole in one part.

        runs: their numbers as `run`, their names as `run_id`.
        """
        self._close()
        names = pl.DataFrame(
            {"code": list(self._metrics.values()), "metric": list(self._metrics)},
            schema={"code": pl.UInt16, "metric": pl.String},
        )
        for part in self._parts:
            frame = pl.read_ipc(part) if isinstance(part, Path) else part
            joined = frame.join(runs, on="run", how="inner", maintain_order="left")
            joined = joined.join(names, on="code", how="left", maintain_order="left")
            finite = pl.when(pl.col("value").is_finite()).then(pl.col("value"))
            yield joined.with_columns(finite.alias("value")).select(
                pl.col(name).cast(dtype) for name, dtype in CURVE_SCHEMA.items()
            )

    def _close(self) -> None:
        if not self._runs:
            return
        frame = pl.DataFrame([
            pl.Series("run", self._runs, dtype=pl.UInt64), pl.Series("phase", self._phases, dtype=pl.Int8),
            pl.Series("code", self._codes, dtype=pl.UInt16), pl.Series("step", self._steps, dtype=pl.Int64),
            pl.Series("value", self._values, dtype=pl.Float64),
        ])
        self._clear()
        if len(self._parts) < _IN_MEMORY:
            self._parts.append(frame)
            return
        content = BytesIO()  # polars tells of a full disk in words of its own
        frame.write_ipc(content, compression="zstd")
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="cvfp-ingest-")
                weakref.finalize(self, self._folder.cleanup)
            path = Path(self._folder.name) / f"{len(self._parts)}.arrow"
            path.write_bytes(content.getvalue())
        except OSError as error:
            raise unwritten(error, tempfile.gettempdir()) from None
        self._parts.append(path)

    def _clear(self) -> None:
        self._runs, self._phases, self._codes = array("Q"), array("b"), array("H")
        self._steps, self._values = array("q"), array("d")
