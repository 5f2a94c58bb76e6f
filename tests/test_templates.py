"""Templates made of others: blocks, imports, sections of plugins; any quantities; nothing else can be read."""

import contextlib
import functools
import math
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

import hostile
import made_docs
from cvfp_core import hookimpl
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Option, Template
from cvfp_core.reporting.measures import measure, size
from cvfp_core.reporting.view import Facts
from cvfp_core.reporting.write import Asked, find, write
from cvfp_core.schema.records import Record, frame
from cvfp_core.testing import check_template, load_only

ROOT = Path(__file__).parents[1]
REGISTRY = installed()
PAGE = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
BLOCKS = {block.text.splitlines()[0]: block.text for block in made_docs.blocks(PAGE)}


@functools.cache
def inputs(folder):
    rows = [Record(run_id=f"{width}-{size}", experiment="e", variant=f"1L_{width}d_1tok", context_dim=width,
                   num_layers=1, num_input_tokens=1, seed=1, num_samples=size / 100, train_tokens=size,
                   params=1000.0 * width, flops=6000.0 * width * size, seconds_phase2=size / 1e4,
                   val_acc=0.5 - 20 / size**0.5 / width**0.1,
                   val_ppl=math.exp(1.5 + 30 / (1000 * width) ** 0.4 + 200 / size**0.6) * (1 + 0.001 * (width % 3)))
            for width in (16, 32, 64) for size in (10_000, 20_000, 40_000, 80_000)]
    file = folder / "made.csv"
    frame(rows).write_csv(file)
    return read([file], REGISTRY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return inputs(tmp_path_factory.mktemp("made"))


def report(runs, template, registry=REGISTRY, *, lang="en", options=None, figures=None, **asked):
    item = template if isinstance(template, Template) else find(str(template), registry)
    return write(runs, item, registry, Asked(lang=lang, options=options or {}, figures=figures, **asked))


def text(runs, template, *arguments, **asked):
    return report(runs, template, *arguments, **asked).text


def mine(folder, source, name="mine.md.j2"):
    file = folder / name
    file.write_text(source, encoding="utf-8")
    return file


def test_a_users_file_replaces_blocks_of_a_registered_template_in_every_language(runs, tmp_path):
    file = mine(tmp_path, BLOCKS['{% extends "summary.md.j2" %}'])
    said = {lang: text(runs, file, lang=lang) for lang in ("en", "ja")}
    assert said["en"].startswith("# Lab report\n\n12 runs in 3 series.\n")
    assert "## Exponents" in said["en"]
    assert "- e: 1L_16d_1tok: " in said["en"]
    assert "## Every run" not in said["en"]
    assert "実行12件、3系列。" in said["ja"]


def test_a_template_may_have_the_name_of_the_one_it_extends(runs, tmp_path):
    file = mine(tmp_path, '{% extends "summary.md.j2" %}{% block title %}Mine{% endblock %}', "summary.md.j2")
    assert text(runs, file).startswith("# Mine\n\n12 runs")


def test_every_first_party_template_can_be_extended_by_its_name_or_its_file(runs, tmp_path):
    options = {"compare": {"a": "1L_16d_1tok", "b": "1L_32d_1tok"}}
    for name, item in REGISTRY.items(Template).items():
        for other in (name, item.path.name) if name not in ("plan", "objectives") else ():  # of other runs
            file = mine(tmp_path, f'{{% extends "{other}" %}}{{% block body %}}{{{{ num_records }}}}{{% endblock %}}')
            assert "\n12\n" in text(runs, file, options=options.get(name))


@pytest.mark.parametrize("asked", ["secret.txt", "../secret.j2", "{folder}/secret.j2", "/etc/passwd", "sub/../../x.j2",
                                   "__init__.pyc", "cvfp_templates/summary.md.j2"])
def test_no_other_file_can_be_read(asked, runs, tmp_path):
    (tmp_path / "secret.j2").write_text("secret")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "secret.txt").write_text("secret")
    for way in ("include", "extends", "import"):
        tail = " as it" if way == "import" else ""
        name = asked.format(folder=tmp_path)
        for source in (f'{{% {way} "{name}"{tail} %}}', f'{{% set name = "{name}" %}}\n{{% {way} name{tail} %}}'):
            with pytest.raises(CvfpError, match=r"not found; .*there are: .*summary\.md\.j2"):
                text(runs, mine(inner, source))


def test_files_beside_a_users_template_that_are_templates_can_be_taken_in(runs, tmp_path):
    mine(tmp_path, "{% macro hello(name) %}Hello {{ name }}{% endmacro %}", "_own.j2")
    assert text(runs, mine(tmp_path, '{% import "_own.j2" as own %}{{ own.hello(num_records) }}')) == "Hello 12"


@pytest.mark.parametrize("source", [
    "{% block title %}{{ ''.__class__.__mro__ }}{% endblock %}", "{% block runs %}{{ series.append(1) }}{% endblock %}",
    "{% block title %}{{ parts.__loader__ }}{% endblock %}", "{% block title %}{{ self._TemplateReference__context }}"
    "{% endblock %}", "{% block title %}{{ super.__globals__ }}{% endblock %}",
])
def test_blocks_are_in_the_sandbox_too(source, runs, tmp_path):
    with pytest.raises(CvfpError, match=r"mine\.md\.j2: line 1: "):
        text(runs, mine(tmp_path, '{% extends "summary.md.j2" %}' + source))


def test_what_only_a_parent_uses_is_computed_and_what_none_uses_is_not(runs, tmp_path, monkeypatch):
    computed = []
    monkeypatch.setattr(Facts, "findings", property(lambda _: computed.append("findings") or []))
    text(runs, mine(tmp_path, '{% extends "fits.md.j2" %}{% block body %}{% endblock %}'))
    assert computed == []
    text(runs, mine(tmp_path, '{% extends "summary.md.j2" %}{% block title %}Mine{% endblock %}'))
    assert computed


def test_a_mistake_is_said_with_the_file_it_is_in(runs, tmp_path):
    file = mine(tmp_path, '{% extends "summary.md.j2" %}\n\n{% block title %}{{ nun_records }}{% endblock %}')
    with pytest.raises(CvfpError, match=r"mine\.md\.j2: line 3: 'nun_records' is undefined; did you mean") as error:
        text(runs, file)
    assert "(template" not in str(error.value)
    (tmp_path / "_own.j2").write_text("\n{% if %}")
    with pytest.raises(CvfpError, match=r"_own\.j2: line 2: "):
        text(runs, mine(tmp_path, '{% include "_own.j2" %}'))


# sections of plugins


def plugin(folder, source, **changed):
    """A registry with a plugin that adds the section, in Japanese too."""
    file = mine(folder, source, "cost.md.j2")
    place = folder / "locale" / "ja" / "LC_MESSAGES"
    place.mkdir(parents=True)
    made = Catalog(locale="ja")
    for message, translation in {"Cost": "費用", "seconds of Phase 2": "Phase 2 の秒数"}.items():
        made.add(message, translation)
    with (place / "messages.mo").open("wb") as mo:
        write_mo(mo, made)
    section = Template(**{"name": "cost", "title": "what the runs took", "path": file, "section_of": "summary",
                          "needs": ("seconds_phase2",), "catalogue": folder / "locale", **changed})
    stranger = ModuleType("stranger")
    stranger.cvfp_templates = hookimpl(lambda: [section])
    return load_only(stranger, beside=["templates", "laws", "analyses"])


COST = BLOCKS['## {{ _("Cost") }}']


def test_a_plugin_adds_a_section_to_a_report_in_two_languages(runs, tmp_path):
    registry = plugin(tmp_path, COST)
    said = {lang: text(runs, "summary", registry, lang=lang) for lang in ("en", "ja")}
    assert "\n\n## Cost\n\n- e:1L_16d_1tok" in said["en"]
    assert ": 1–8 seconds of Phase 2\n" in said["en"]
    assert "\n\n## 費用\n\n" in said["ja"]
    assert ": 1–8 Phase 2 の秒数\n" in said["ja"]
    for line in said["en"].replace(text(runs, "summary", registry).split("## Cost")[0], "").splitlines():
        assert not line.startswith("#") or line in ("## Cost", "## Log files")
    assert "## Cost" not in text(runs, "audit", registry)
    file = mine(tmp_path, '{% extends "summary.md.j2" %}{% block runs %}{% endblock %}')
    assert "## Cost" in text(runs, file, registry)
    check_template(registry.get(Template, "cost"), registry=registry)
    assert text(runs, "cost", registry).startswith("## Cost\n")


def test_a_section_is_left_out_where_its_columns_were_not_measured_and_takes_options(runs, tmp_path):
    registry = plugin(tmp_path, "## {{ options.heading }}\n", options=(Option(name="heading", default="x", help=""),))
    assert "## Costs of it\n" in text(runs, "summary", registry, options={"heading": "Costs of it"})
    bare = tmp_path / "bare.csv"
    runs.records.drop("seconds_phase2").write_csv(bare)
    assert "## x" not in text(read([bare], REGISTRY), "summary", registry)


def test_a_mistake_in_a_section_says_whose_it_is(runs, tmp_path):
    registry = plugin(tmp_path, "\n{{ 1 / 0 }}")
    with pytest.raises(CvfpError, match=r"cost\.md\.j2: line 2: ZeroDivisionError.*template 'cost' of plugin 'strang"):
        text(runs, "summary", registry)


# any quantities


def test_the_summary_and_the_fits_are_about_the_axes_asked_for(runs):
    made = text(runs, "summary", x="flops", y="val_loss", law="power-law")
    assert "`val_loss = A * flops^alpha`, least squares on logarithms" in made
    assert "| Series | n | α | 95 % interval | A | R² | Best Val loss | at FLOPs |" in made
    assert "| 31B |" in made
    assert "PPL" not in made
    made = report(runs, "fits", x="flops", y="val_loss", figures="f", at={"flops": ["10x"]})
    assert "![Val loss against FLOPs, with the law that forecasts and its band](f/scaling.svg)" in made.text
    assert "| Config | FLOPs | Val loss predicted | 95 % interval of one run |" in made.text
    assert "FLOPs" in made.figures["f/scaling.svg"]
    assert "Val loss (nat a token)" in made.figures["f/scaling.svg"]
    assert "perplexity" not in made.figures["f/scaling.svg"]


def test_fractions_are_in_percent_and_the_highest_is_the_best(runs):
    made = text(runs, "summary", y="val_acc")
    best = runs.records["val_acc"].max()
    assert f"| {100 * best:.1f}% | 80,000 |" in made
    assert "Val Acc (%)" in made


def test_a_surface_is_in_report_and_figures(runs):
    made = report(runs, "fits", law="chinchilla", at={"params": [1e6], "train_tokens": [1e6]}, figures="f")
    assert "| Config | params | Tokens | Val loss predicted |" in made.text
    assert "| E |" in made.text
    assert "![Val loss by chinchilla: slices along each input" in made.text
    drawn = made.figures["f/surface-chinchilla.svg"]
    assert "observed against predicted" in drawn
    assert drawn == report(runs, "fits", law="chinchilla", figures="f").figures["f/surface-chinchilla.svg"]
    ja = report(runs, "fits", law="chinchilla", figures="f", lang="ja")
    assert "予測値に対する実測値" in ja.figures["f/surface-chinchilla.svg"]
    assert "| chinchilla" not in made.text
    assert "; A " in text(runs, "summary", law="chinchilla")


def test_series_are_called_by_the_columns_that_tell_them_apart(runs):
    made = text(runs, "summary", by=("context_dim",))
    assert "### 16\n" in made
    assert "| 16 | 4 |" in made


def test_a_template_that_says_nothing_of_axes_or_laws_refuses_them(runs):
    for asked in ({"x": "flops"}, {"y": "val_loss"}, {"law": "saturating"}, {"at": {"train_tokens": [1e6]}}):
        with pytest.raises(UsageError, match=r"--(x|y|law|at): template 'audit' takes none"):
            text(runs, "audit", **asked)
    with pytest.raises(UsageError, match="no column 'flop'; did you mean 'flops'"):
        text(runs, "summary", x="flop")
    with pytest.raises(CvfpError, match="needs train_loss, train_tokens; no run has train_loss"):
        text(read_without_losses(runs), "fits", y="train_loss")


def read_without_losses(runs):
    return replace(runs, records=runs.records.with_columns(train_loss=pl.lit(None, dtype=pl.Float64)))


@pytest.mark.parametrize(("value", "quantity", "said"), [
    (0.8125, "val_acc", "81.2%"), (7e9, "params", "7B"), (1.4e13, "train_tokens", "1.4e13"),
    (62891, "params", "62,891"), (2.1719, "val_loss", "2.172"), (None, "val_loss", "–"),
    (123.44, "val_ppl", "123.4"), (192.0, "width", "192"),
])
def test_a_value_is_written_as_its_quantity_is_quoted(value, quantity, said):
    from cvfp_core.reporting.view import axis
    from cvfp_core.schema.quantities import of

    assert measure(value, axis(of(quantity))) == said
    assert size(None) == "–"


# limits

@pytest.mark.parametrize("source", hostile.TEMPLATES, ids=lambda source: source.strip()[:40])
def test_a_template_that_asks_for_too_much_ends_in_one_line_at_a_limit(source, runs, tmp_path):
    options = {f"limits.{name}": value for name, value in hostile.limits(source).items()}
    with pytest.raises(CvfpError) as error:
        text(runs, mine(tmp_path, source), options=options)
    assert hostile.ends_as_it_should(source, tmp_path / "mine.md.j2", str(error.value))


def test_limits_are_set_and_a_wrong_one_is_named(runs, tmp_path):
    file = mine(tmp_path, "{{ ('x' * 2**27) | length }} {{ options }}")
    assert text(runs, file, options={"limits.memory_gib": 1}) == "134217728 {}"
    large = mine(tmp_path, "{{ ('x' * 2**29) | length }}", "large.md.j2")
    with pytest.raises(CvfpError, match=r"line 1: takes more than 0.1 GiB of memory; --set limits.memory_gib=N allows"):
        text(runs, large, options={"limits.memory_gib": 0.1})
    with pytest.raises(UsageError, match=r"'limits\.second'; did you mean 'seconds'\?; known: memory_gib, output_mib"):
        text(runs, file, options={"limits.second": 3})
    with pytest.raises(UsageError, match=r"limits\.seconds must be above 0"):
        text(runs, file, options={"limits.seconds": 0})


def test_what_limits_a_template_limits_nobody_else(runs, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM), len(os.listdir("/proc/self/fd"))
    for source in ("{{ 'x' * 10**9 }}", "{{ nothing }}", "{{", "fine"):
        with contextlib.suppress(CvfpError):
            text(runs, mine(tmp_path, source), options={"limits.memory_gib": 0.25})
    assert before == (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGALRM),
                      len(os.listdir("/proc/self/fd")))


@pytest.mark.parametrize("way", ["include", "extends", "import"])
def test_a_link_that_leaves_the_folder_is_refused_and_one_that_stays_is_followed(way, runs, tmp_path):
    inner = tmp_path / "inner"
    (inner / "parts").mkdir(parents=True)
    (tmp_path / "secret.j2").write_text("secret")
    (inner / "parts" / "own.j2").write_text("own")
    (inner / "link.j2").symlink_to(tmp_path / "secret.j2")
    (inner / "folder").symlink_to(tmp_path)
    (inner / "good.j2").symlink_to("parts/own.j2")
    (tmp_path / "way").symlink_to(inner)  # the folder may be a link itself
    tail = " as it" if way == "import" else ""
    for name in ("link.j2", "folder/secret.j2"):
        for source in (f'{{% {way} "{name}"{tail} %}}', f'{{% set name = "{name}" %}}{{% {way} name{tail} %}}'):
            with pytest.raises(CvfpError, match=rf"line 1: '{name}' is a link that leaves the folder"):
                text(runs, mine(inner, source))
    for folder in (inner, tmp_path / "way"):
        assert text(runs, mine(folder, f'{{% {way} "good.j2"{tail} %}}')) == ("" if way == "import" else "own")
