"""Reports: every template in every language, byte for byte; text stays inert; mistakes are said with file and line."""

import ast
import copy
import functools
import gettext
import io
import itertools
import pickle
import re
import sys
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pytest
from babel.messages.pofile import read_po
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from cvfp_core.cli.app import app
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Template
from cvfp_core.reporting import names, numbers
from cvfp_core.reporting.language import fill, languages
from cvfp_core.reporting.write import Asked, find, write
from cvfp_core.schema.fits import DOUBTS, Reason, message_of
from cvfp_core.schema.records import Record, frame
from cvfp_laws import power_law

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
EXAMPLE = ROOT / "examples" / "phase1-to-ppl"
STUDY = ROOT / "examples" / "objectives"
TEMPLATES = ROOT / "templates" / "cvfp_templates"
sys.path.insert(0, str(ROOT / "docs"))
sys.path.insert(0, str(ROOT / "templates"))

import make_templates_md  # noqa: E402

import catalogue  # noqa: E402

REGISTRY = installed()
NAMES = sorted({*REGISTRY.items(Template)} - {"objectives", "optimum", "plan"})  # these have tests of their own
MADE = {"compare": {"a": "one", "b": "two"}}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A small made-up grid as a CSV file: two experiments, two variants, five sizes, one run diverged."""
    rng = np.random.default_rng(7)
    rows = []
    for experiment, noise in (("one", 0.1), ("two", 0.0)):
        for dim in (16, 32):
            for i, samples in enumerate((10, 20, 40, 80, 160)):
                tokens = 1000 * samples
                ppl = 30 + 9000 * tokens**-0.4 * float(np.exp(0.02 * rng.standard_normal())) * (1 + dim / 500)
                rows.append(Record(
                    run_id=f"{experiment}-{dim}-{samples}", experiment=experiment, variant=f"1L_{dim}d_1tok",
                    num_layers=1, context_dim=dim, num_input_tokens=1, seed=1, num_samples=samples,
                    train_tokens=tokens, val_ppl=round(ppl, 2), train_ppl=round(ppl / 3, 2),
                    val_acc=round(0.45 - 3 * tokens**-0.35 + 0.001 * (-1) ** i, 3),
                    train_er=round(0.9 - dim / 200 + 0.001 * i, 4),
                    val_er=round(0.89 - dim / 200, 4), phase1_iterations=40 if noise else 20 + i,
                    phase1_censored=noise > 0, max_epochs=10, best_epoch=10 if noise and dim == 32 else 7,
                    settings=f'{{"phase1": {{"context_noise": {noise}}}}}',
                ))
    last = rows[-1]
    rows[-1] = Record(run_id=last.run_id, experiment="two", variant=last.variant, num_layers=1, context_dim=32,
                      num_input_tokens=1, seed=1, num_samples=160, train_tokens=160000, status="diverged",
                      reason="loss is not finite", settings=last.settings)
    file = tmp_path_factory.mktemp("table") / "made.csv"
    frame(rows).write_csv(file)
    return file


@functools.cache
def report(path, template="summary", *, lang="en", figures=None, **options):
    """The report of one path."""
    asked = Asked(lang=lang, options=options, command="cvfp report made.csv", figures=figures)
    return write(read([path], REGISTRY), find(str(template), REGISTRY), REGISTRY, asked)


def cvfp(*arguments, code=0):
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def without_versions(text):
    """The report without the line that names versions and the one with the file's hash."""
    return re.sub(r"(?m)^(Command|コマンド)[:：].*$|^\| \S+ \| [\d,]+ \| `[0-9a-f]{16}` \|$", "", text)


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("name", NAMES)
def test_every_template_in_every_language_writes_what_is_kept(name, lang, table):
    """To renew after a change that is meant: delete tests/golden and run the tests twice."""
    text = without_versions(report(table, name, lang=lang, **MADE.get(name, {})).text)
    kept = GOLDEN / f"{name}.{lang}.md"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(text, encoding="utf-8")
        pytest.fail(f"{kept} was not there; it is written, look at it")
    assert text == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_whole_and_no_line_is_torn(name, table):
    for lang in ("en", "ja"):
        text = report(table, name, lang=lang, **MADE.get(name, {})).text
        html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
        assert "<p>|" not in html
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(cells) == 1, block
        assert not re.search(r"\n\n\n|None|nan\b|\{\{|%\(", text)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_committed_example_is_what_its_table_gives(lang):
    kept = EXAMPLE / ("report.md" if lang == "en" else f"report.{lang}.md")
    made = report(EXAMPLE / "runs.csv", "phase1-to-ppl", lang=lang, figures=f"{kept.stem}_figures")
    assert without_versions(made.text) == without_versions(kept.read_text(encoding="utf-8"))
    assert set(made.figures) == {f"{kept.stem}_figures/{name}.svg" for name in (
        "scaling", "alpha", "alpha_over_val_er", "windows", "matched")}
    assert all((EXAMPLE / path).is_file() for path in made.figures)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_committed_study_of_objectives_is_what_its_table_gives(lang):
    kept = STUDY / ("report.md" if lang == "en" else f"report.{lang}.md")
    assert without_versions(report(STUDY / "runs.csv", "objectives", lang=lang).text) == without_versions(
        kept.read_text(encoding="utf-8"))
    asked = tomllib.loads((STUDY / "study.toml").read_text(encoding="utf-8"))
    trained = read([STUDY / "runs.csv"], REGISTRY).records.filter(phase1_mode="trained", status="ok")
    run = set(trained["objective"])
    assert len(run) >= 12
    assert run <= set(asked["matrix"]["objective"])
    assert set(trained.select("objective", "num_samples", "seed").rows()) == set(
        itertools.product(run, asked["samples"], asked["seeds"]))


def test_figures_are_the_same_bytes_twice_and_hold_japanese_as_text(table):
    first, second = (report.__wrapped__(table, "phase1-to-ppl", lang="ja", figures="f") for _ in range(2))
    assert first.figures == second.figures
    assert "学習トークン数" in first.figures["f/scaling.svg"]
    assert not re.search(r"\d{4}-\d\d-\d\d", first.figures["f/scaling.svg"])
    assert "](f/scaling.svg)" in first.text


def test_without_matplotlib_the_report_says_so_and_renders(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    made = report.__wrapped__(table, "phase1-to-ppl", figures="f")
    assert made.figures == {}
    assert 'matplotlib is not installed (`pip install "cvfp[figures]"`)' in made.text
    assert "svg" not in made.text


HOSTILE = '1L|x\n<script>alert(1)</script> [l](javascript:x) *b* `c` $d$ __e__'


@pytest.mark.parametrize("name", NAMES)
def test_names_from_logs_stay_inert(name, tmp_path):
    rows = [Record(run_id=f"r{i}{e}", experiment=e, variant=HOSTILE, num_samples=n, train_tokens=n * 100,
                   val_ppl=1000 / n**0.5, val_er=0.8, seed=1)
            for e in ("a|b", "<b>c") for i, n in enumerate((10, 20, 40, 80))]
    file = tmp_path / "made.csv"
    frame(rows).write_csv(file)
    made = report(file, name, figures="f", **({"a": "a|b", "b": "<b>c"} if name == "compare" else {}))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(made.text)
    body = re.sub(r"<code>.*?</code>", "", html)
    assert "<script" not in body
    assert "<b>" not in body
    assert "javascript:x\"" not in body
    assert "<em>" not in body
    assert len(set(re.findall(r"<a [^>]*>", body))) == 0
    assert all("<script" not in svg for svg in made.figures.values())


def test_a_report_as_one_html_page_shows_html_as_text_and_holds_its_figures(table, tmp_path):
    cvfp(table, "--template", "phase1-to-ppl", "--embed", "-o", tmp_path / "one.html")
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("data:image/svg+xml;base64,") == 5
    assert not list(tmp_path.glob("*_figures"))
    assert page.count("<table>") > 10


def test_check_tells_a_report_that_is_not_what_the_records_give(table, tmp_path):
    out = tmp_path / "r.md"
    cvfp(table, "--no-figures", "-o", out)
    cvfp(table, "--no-figures", "-o", out, "--check")
    out.write_text(out.read_text(encoding="utf-8").replace("-0.", "-1.", 1), encoding="utf-8")
    said = cvfp(table, "--no-figures", "-o", out, "--check", code=1)
    assert f"{out}:" in said.output
    assert "not what the records give" in said.output
    assert "needs the report to be checked" in cvfp(table, "--check", code=2).output


def test_list_names_templates_plugins_languages_and_options():
    said = cvfp("--list").output
    for name in NAMES:
        assert name in said
    assert "plugin templates; en, ja" in said
    assert "--set experiments=..." in said


@pytest.mark.parametrize(("text", "said"), [
    ("a\n\n{{ num_record }}\n", "mine.md.j2: line 3: 'num_record' is undefined; did you mean 'num_records'?"),
    ("{% for s in series %}\n{{ s.alfa }}\n{% endfor %}", "mine.md.j2: line 2: 'dict object' has no attribute 'alfa'"),
    ("\n{% for s in series %}", "mine.md.j2: line 2: Unexpected end of template"),
    ("{{ series.append(1) }}", "mine.md.j2: line 1: "),
    ("\n{{ 1 / 0 }}", "mine.md.j2: line 2: ZeroDivisionError"),
    ("{{ lang.__class__.__mro__ }}", "mine.md.j2: line 1: access to attribute '__class__'"),
    ("{% include 'none.j2' %}", "mine.md.j2: line 1: 'none.j2' not found"),
])
def test_a_mistake_in_a_template_is_said_with_file_line_and_names(text, said, table, tmp_path):
    mine = tmp_path / "mine.md.j2"
    mine.write_text(text, encoding="utf-8")
    with pytest.raises(CvfpError) as error:
        report(table, mine)
    assert said in str(error.value)


def test_an_unknown_name_of_a_template_option_or_language_is_refused(table):
    for arguments in ({"template": "sumary"}, {"experimnts": "one"}, {"experiments": "three"}, {"lang": "de"}):
        with pytest.raises(UsageError):
            report(table, **arguments)
    with pytest.raises(UsageError, match="two groups are compared"):
        report(table, "compare")
    with pytest.raises(UsageError, match="did you mean 'two'"):
        report(table, "compare", a="one", b="twoo")


def test_a_template_whose_columns_nobody_measured_is_refused(tmp_path):
    file = tmp_path / "made.csv"
    file.write_text("variant,train_tokens,train_ppl\nv,10,3\nv,20,2\n", encoding="utf-8")
    with pytest.raises(CvfpError, match="needs val_ppl, train_tokens; no run has val_ppl"):
        report(file, "phase1-to-ppl")


def test_a_template_computes_only_what_it_uses(table, tmp_path, monkeypatch):
    from cvfp_core.claims import findings

    def refuse(*_):
        raise AssertionError("findings were computed")

    monkeypatch.setattr(findings, "test_all", refuse)
    mine = tmp_path / "mine.md.j2"
    mine.write_text("{{ num_records }} {{ experiments | join(',') }}", encoding="utf-8")
    assert report.__wrapped__(table, mine).text == "20 one,two"


def test_a_trend_is_written_only_if_its_test_found_it(table):
    """Each claim with its verdict: those not supported stand nowhere but in the table of claims, beside it."""
    from cvfp_core.reporting.view import view

    verdicts = set()
    for path in (table, EXAMPLE / "runs.csv"):
        text = report(path, "phase1-to-ppl").text
        rows = dict(re.findall(r"(?m)^\| (\S[^|]+[.]) \| [^|]* \| ([a-z ]+)[|(]", text.split("## Data")[0]))
        prose = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
        for f in view(read([path], REGISTRY), REGISTRY, {"findings"})["findings"]:
            claim = fill(f["claim"], f["values"])
            if f["analysis"] in ("groups", "controls", "unigram") or f["key"] == "not measured":
                continue
            verdicts.add(f["verdict"])
            said = f["verdict"] if f["tested"] or f["verdict"] == "confounded" else "not tested"
            assert (f"— {claim}" in prose) == (f["verdict"] == "supported"), claim
            assert (claim in prose) == (f["verdict"] == "supported"), claim
            assert rows.get(claim, said).strip() == said, claim
        assert len(rows) >= 9
    assert verdicts == {"supported", "contradicted", "confounded", "inconclusive"}


# messages

LANGS = [lang for lang in languages(TEMPLATES / "locale") if lang != "en"]


def po(lang):
    return read_po(io.BytesIO((TEMPLATES / f"locale/{lang}/LC_MESSAGES/messages.po").read_bytes()), locale=lang)


@pytest.mark.parametrize("lang", LANGS)
def test_the_compiled_catalogue_is_that_of_its_source(lang):
    with (TEMPLATES / f"locale/{lang}/LC_MESSAGES/messages.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in po(lang):
        if message.id and isinstance(message.id, tuple):
            assert compiled.ngettext(*message.id, 1) == message.string[0]
        elif message.id:
            assert compiled.gettext(message.id) == message.string


@pytest.mark.parametrize("lang", LANGS)
def test_no_message_is_untranslated_and_places_agree(lang, table):
    from cvfp_core.registry.kinds import Fitter, Light, StopRule
    from cvfp_core.reporting.figures import report as figures
    from cvfp_core.reporting.view import view

    known = po(lang)
    wanted = {m if isinstance(m, str) else m[0] for m in catalogue.template_messages()} | set(figures.TITLES.values())
    wanted |= {figures.OTHER_AXES, figures.SURFACE, figures.SLICES, *figures.CAPTIONS.values(), *figures.WORDS}
    wanted |= reasons()
    for kind in (Light, StopRule, Fitter):
        wanted |= {item.title for item in REGISTRY.items(kind).values()
                   if REGISTRY.owner(kind, item.name).distribution == "cvfp"}
    for path in (table, EXAMPLE / "runs.csv"):
        for f in view(read([path], REGISTRY), REGISTRY, {"findings"})["findings"]:
            wanted |= {f["question"], f["claim"], f["unit"], *(c["text"] for c in f["caveats"])} - {""}
            wanted |= set(f["table"]["columns"] if f["table"] else ())
            wanted |= {re.sub(r"\d+", "{n}", part) for part in f["method"].split(", ") if part}
    missing = sorted(each for each in wanted if not known.get(each) or not known.get(each).string)
    assert not missing
    for message in known:
        forms = message.id if isinstance(message.id, tuple) else (message.id,)
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in said:
            assert places(text) == places(forms[-1]), message.id


def test_japanese_is_written_by_the_rules():
    """One name for a run, one notation for percent and intervals, full-width punctuation, no English left."""
    wrong = []
    for message in po("ja"):
        english = message.id if isinstance(message.id, str) else message.id[-1]
        said = message.string if isinstance(message.string, str) else message.string[0]
        rules = {
            r"[ぁ-んァ-ヶ一-龥）][:;]": True, r"\d %%?|95%%?の?区間": True, "訓練トークン|有効ランク|構成|窓": True,
            "パープレキシティ": True,
            "実験": re.search(r"\bruns?\b", english) and "experiment" not in english,
            r"^[^ぁ-んァ-ヶ一-龥]*[a-z]{2,} [a-z]{2,} [a-z]{2,}": True,
        }
        wrong += [(rule, said) for rule, holds in rules.items() if holds and english and re.search(rule, said)]
    assert not wrong


WRONG_WAY = [f"{{name}} {way} with {{size}}, so this is no scaling law; check the runs" for way in ("rises", "falls")]
LEFT_OUT = ("diverged", "failed", "interrupted", "not measured", "identical", "earlier checkpoint", "of controls")


def reasons():
    """The messages of all reasons that fits and predictions give, from the source; those of a choice are not shown."""
    found = {*WRONG_WAY, *DOUBTS.values(), power_law.FLATTENS, power_law.STEEPENS, "positive and finite", "finite"}
    found |= {f"{{n}} {word}" for word in LEFT_OUT}
    for folder in ("cvfp_core/fitting", "cvfp_core/deciding", "plugins/cvfp_laws"):
        for file in sorted(set((ROOT / folder).glob("*.py")) - {ROOT / "cvfp_core/fitting/selection.py"}):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                texts = {each.value for expression in said(node) for each in [
                    expression, getattr(expression, "body", None), getattr(expression, "orelse", None),
                    *getattr(expression, "elts", [])[-1:],
                ] if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value}
                found |= texts
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_reason":
                    found |= {f"{each} (left out: {{left_out}})" for each in texts}
    return found


def said(node):
    """The expressions of a piece of source that give reasons."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", "")
        return [*(each.value for each in node.keywords if each.arg == "reason"),
                *(node.args[:1] if name in ("Reason", "_reason") else node.args[-1:] if name == "_refused" else ())]
    if isinstance(node, ast.Assign) and "reason" in {getattr(each, "id", "") for target in node.targets
                                                     for each in getattr(target, "elts", [target])}:
        return [node.value]
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        return [node.value]
    return []


def test_a_reason_is_its_text_and_remembers_its_message():
    inner = Reason("{n} of {what}", n=3, what="many")
    made = Reason("no {name}: {why} ({left_out})", name="law", why=inner, left_out=("2 diverged", "1 failed"))
    assert made == "no law: 3 of many (2 diverged, 1 failed)"
    assert message_of(made) == {"text": "no {name}: {why} ({left_out})", "values": {
        "name": "law", "why": {"text": "{n} of {what}", "values": {"n": 3, "what": "many"}},
        "left_out": ["2 diverged", "1 failed"]}}
    plain(message_of(made))
    assert message_of("as {it} is") == {"text": "{reason}", "values": {"reason": "as {it} is"}}
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (copied, message_of(copied)) == (made, message_of(made))


def test_reasons_are_said_in_the_language_of_the_report(tmp_path):
    tokens = [30_000, 60_000, 120_000, 240_000]
    rows = [("one", "1L_16d_1tok", size, 900 - size / 1000) for size in tokens[:2]]
    rows += [("two", "1L_16d_1tok", size, 400 + size / 1000) for size in tokens]
    rows += [("three", "1L_16d_1tok", tokens[0], 300.0), ("three", "1L_16d_1tok", tokens[1], "nan")]
    (tmp_path / "runs.csv").write_text("experiment,variant,train_tokens,val_ppl\n" + "".join(
        ",".join(map(str, row)) + "\n" for row in rows))
    inputs = read([tmp_path / "runs.csv"], REGISTRY)
    said = {lang: write(inputs, find("fits", REGISTRY), REGISTRY, Asked(lang=lang)).text for lang in ("en", "ja")}
    for reason in ("2 points give a line and no interval; add a third size", "(left out: 1 diverged)",
                   "val_ppl rises with train_tokens, so this is no scaling law; check the runs",
                   "2 sizes, needs 3; add 1", "cannot tell whether there is a floor"):
        assert reason in said["en"]
        assert reason not in said["ja"]
    for reason in ("2点では直線が決まるだけで、区間は求められない", "（除外：発散 1件）",
                   "サイズが2個しかなく、3個必要"):
        assert reason in said["ja"]


def test_a_forecast_below_every_perplexity_is_a_reason_and_no_number(tmp_path):
    (tmp_path / "runs.csv").write_text("experiment,variant,train_tokens,val_ppl\n" + "".join(
        f"steep,1L_16d_1tok,{size},{1.1 * (size / 80_000) ** -1.5:.6f}\n"
        for size in (10_000, 20_000, 40_000, 80_000)))
    inputs = read([tmp_path / "runs.csv"], REGISTRY)
    said = {lang: write(inputs, find("fits", REGISTRY), REGISTRY, Asked(lang=lang, figures="f"))
            for lang in ("en", "ja")}
    assert ("| steep:1L_16d_1tok | 800K | – | below 1 at 800000 train_tokens, as no perplexity can be: the law has "
            "left its range; ask nearer |") in said["en"].text
    assert "| steep:1L_16d_1tok | 800K | – | 800000 train_tokens で 1 を下回るが、" in said["ja"].text
    assert said["en"].figures


def places(text):
    return sorted(set(re.findall(r"%\(\w+\)s|\{[^}]*\}", text)))


# documentation

def test_the_page_on_templates_is_up_to_date():
    said = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    assert said == make_templates_md.page(), "run: python docs/make_templates_md.py"


def test_every_name_of_the_view_can_be_computed(table):
    from cvfp_core.reporting.view import view

    data = view(read([table], REGISTRY), REGISTRY, options={"a": "one", "b": "two"})
    drawn = {"figures", "figures_missing", "sections"}  # by the writer, which knows where they go
    assert set(data) == set(names.View.__annotations__) - drawn - {"plan"}  # of one series; see test_plan.py
    plain(data)
    assert list(wrong(data, {name: kind for name, kind in get_type_hints(names.View).items() if name in data})) == []


def wrong(value, kind, place="view"):
    """Where a value is not what the annotations of the view say that it is."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if all(list(wrong(value, each)) for each in parts):
            yield f"{place}: {value!r:.80} is none of {parts}"
    elif isinstance(kind, dict) or is_typeddict(kind) or is_dataclass(kind):
        within = kind if isinstance(kind, dict) else get_type_hints(kind)
        if not isinstance(value, dict) or (lacking := [] if is_dataclass(kind) else within.keys() - value.keys()):
            yield f"{place}: {value!r:.80} is no {kind}, {lacking if isinstance(value, dict) else ''}"
        elif not is_dataclass(kind):
            for name, each in within.items():
                yield from wrong(value[name], each, f"{place}.{name}")
    elif origin in (list, tuple) and isinstance(value, list | tuple):
        for each in value:
            yield from wrong(each, parts[0], f"{place}[]")
    elif origin is dict and isinstance(value, dict):
        for name, each in value.items():
            yield from wrong(name, parts[0], f"{place} keys")
            yield from wrong(each, parts[1], f"{place}[{name}]")
    elif not (kind is Any or (isinstance(value, int | float) and not isinstance(value, bool) if kind is float
                              else isinstance(value, origin or kind))):
        yield f"{place}: {value!r:.80} is no {kind}"


def test_every_name_of_a_value_is_documented():
    for kind in names.VALUES:
        meanings = make_templates_md._docstrings(kind)
        assert [each.name for each in fields(kind) if each.repr and not meanings.get(each.name)] == [], kind


def plain(value):
    """Fails for anything a template must not get."""
    if isinstance(value, dict):
        for key, each in value.items():
            assert type(key) is str
            plain(each)
    elif isinstance(value, list):
        for each in value:
            plain(each)
    else:
        assert value is None or type(value) in (str, int, float, bool), type(value)


@pytest.mark.parametrize(("filter_", "arguments", "text"), [
    ("number", (1234.56,), "1,234.6"), ("number", (None,), "–"), ("percent", (0.8125,), "81.2%"),
    ("points", (-0.0355,), "-3.5"), ("short", (473429,), "473K"), ("short", (1e6,), "1M"), ("short", (950,), "950"),
    ("span", ({"low": 0.775, "high": 0.776}, "percent", 1), "77.5–77.6%"), ("span", (None,), "–"),
    ("span", ({"low": 40, "high": 40}, "plain"), "40"), ("p", (0.0001234,), "0.00012"), ("p", (0.974,), "0.97"),
    ("p", (0.0,), "< 1e-12"), ("p", (8.8e-16,), "< 1e-12"), ("p", (1.01e-12,), "1e-12"),
    ("p_is", (0.0031,), "p = 0.0031"), ("p_is", (0.0,), "p < 1e-12"), ("p_is", (None,), "p = –"),
    ("significant", (1.4e13,), "1.40e13"), ("significant", (5444.6,), "5,440"), ("significant", (80531.0,), "80,531"),
    ("significant", (-0.02134,), "-0.0213"), ("significant", (4.99e-9, 2), "5.0e-9"),
    ("significant", (999.96,), "1,000"), ("ends", ({"value": 3.0, "low": None, "high": None},), "–"),
    ("estimate", ({"value": 5444.6, "low": 4345.4, "high": 6821.9},), "5,440"),
    ("ends", ({"value": 5444.6, "low": 4345.4, "high": 6821.9},), "[4,350, 6,820]"),
    ("estimate", ({"value": 185.432, "low": 185.411, "high": 185.454},), "185.43"),
    ("ends", ({"value": 185.432, "low": 185.411, "high": 185.454},), "[185.41, 185.45]"),
    ("ends", ({"value": 14742.6, "low": 1282.2, "high": 13712675236024.3},), "[1,280, 1.4e13]"),
    ("ends", ({"value": -8.0, "low": -8 - 1e-15, "high": -8 + 1e-15},), "[-8.00, -8.00]"),
    ("ends", ({"value": 3.0, "low": None, "high": 4.0},), "[, 4.00]"),
    ("any", (13712675236024.3,), "1.371e13"), ("any", (273.48,), "273.5"),
    ("interval", ({"low": None, "high": 2.0},), "[, 2.000]"), ("cell", ("a|b",), "a\\|b"),
    ("cell", ("1L_768d_2tok",), "1L_768d_2tok"), ("cell", ("_x_",), "\\_x\\_"), ("code", ("a`b",), "``a`b``"),
    ("hours", (45,), "45 s"), ("hours", (7300,), "2.0 h"), ("any", (0.0,), "0"), ("any", (None,), "–"),
    ("tidy", ("a\n\n \n\nb\n\n",), "a\n\nb\n"),
])
def test_a_filter_writes(filter_, arguments, text):
    assert numbers.FILTERS[filter_](*arguments) == text
