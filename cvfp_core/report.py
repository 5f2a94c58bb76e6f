"""Records + fits -> a view of plain data -> a Jinja template -> Markdown.

Templates get strings, numbers, booleans, None, lists and dicts only, in a sandboxed environment where an undefined name
is an error. Same records, same bytes: the view holds no time and nothing of the machine it is rendered on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

import cvfp_core
from cvfp_core import records as schema
from cvfp_core.errors import CvfpError
from cvfp_core.fitting import Fit, fit_series

View = dict[str, Any]


def view(records: pl.DataFrame) -> View:
    """Everything a template may use, as plain data.

    `series`: one entry a (experiment, variant), with its `runs` (record columns) and its `fit` (law, parameters).
    """
    fits = {fit.series: fit for fit in fit_series(records)}
    series = []
    for group in schema.series(records):
        experiment, variant = group["experiment"][0], group["variant"][0]
        runs = group.to_dicts()
        usable = [run for run in runs if run["status"] == "ok" and run["val_ppl"] is not None]
        series.append({
            "experiment": experiment,
            "variant": variant,
            "runs": runs,
            "best": min(usable, key=lambda run: run["val_ppl"]) if usable else None,
            "fit": _fit(fits.get(f"{experiment}:{variant}")),
        })
    statuses = records["status"].value_counts(sort=True).to_dicts()
    return {
        "cvfp_version": cvfp_core.__version__,
        "num_records": records.height,
        "statuses": {row["status"]: row["count"] for row in statuses},
        "experiments": records["experiment"].unique(maintain_order=True).to_list(),
        "corpora": records.select("corpus", "corpus_hash", "tokenizer", "vocab_size", "unigram_ppl", "val_tokens")
        .unique(["corpus", "corpus_hash"], maintain_order=True).to_dicts(),
        "devices": records["device"].drop_nulls().unique(maintain_order=True).to_list(),
        "sources": records["source"].drop_nulls().unique(maintain_order=True).to_list(),
        "series": series,
    }


def _fit(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    plain = fit.as_dict()
    plain["parameters"] = {each["name"]: each for each in plain.pop("estimates")}
    return plain


def render(template: Path, data: View) -> str:
    """The template filled with the view. Raises CvfpError with file, line and, for a name, those that exist."""
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {
        "number": _number, "percent": _percent, "cell": _cell, "tokens": _tokens, "interval": _interval,
    }
    try:
        return environment.get_template(template.name).render(data)
    except TemplateSyntaxError as error:
        raise CvfpError(f"{template}: line {error.lineno}: {error.message}") from None
    except UndefinedError as error:
        raise CvfpError(f"{template}: line {_line(error, template)}: {error.message}; the names are: "
                        f"{', '.join(sorted(data))}") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise CvfpError(f"{template}: not UTF-8: byte 0x{byte:02x} at offset {error.start}") from None
    except Exception as error:  # a template is a program of the user's: whatever it raises has a line in it
        text = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        raise CvfpError(f"{template}: line {_line(error, template)}: {text}") from None


def _line(error: BaseException, template: Path) -> int | str:
    """The line of the template that was being rendered."""
    line: int | str = "?"
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == template:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}%"


def _tokens(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _interval(estimate: dict[str, Any], digits: int = 3) -> str:
    low, high = estimate["low"], estimate["high"]
    return "–" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _cell(value: object) -> str:
    """Text that stays inert inside a Markdown table cell."""
    text = "–" if value is None else str(value)
    for character, inert in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\r", " "), ("\n", " ")):
        text = text.replace(character, inert)
    return text
