"""Reports in each form a file's ending asks for, of runs of anybody's, by the template that suits them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

import chromium
import cvfp_core as package
from cvfp_core.cli.app import app
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.reporting.figures import formats, paint
from cvfp_core.reporting.html import page
from cvfp_core.reporting.latex import document, escaped, part
from cvfp_core.reporting.sweep import about
from cvfp_core.reporting.write import suited
from cvfp_core.results import forecasts
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult

REGISTRY = installed()
GOLDEN = Path(__file__).parent / "golden"
EXAMPLE = Path(__file__).parents[1] / "examples" / "phase1-to-ppl" / "runs.csv"


def loss(params, tokens):
    """As of arXiv:2203.15556, with noise of 0.2 %."""
    noise = 1 + 0.002 * np.sin(1e3 * np.log(params * tokens))
    return (1.69 + 406.4 / params**0.34 + 410.7 / tokens**0.28) * noise


def runs(sizes, tokens, named):
    """A row a size and number of tokens, rounded as people do, with an experiment for each size if they are named."""
    return pl.DataFrame([{**({"experiment": f"series {i:02}"} if named else {}), "N": n, "D": d,
                          "loss": round(float(loss(n, d)), 4)}
                         for i, n in enumerate(sizes) for d in tokens])


KINDS = {
    "nd": lambda: runs(np.round(np.geomspace(1e6, 1e8, 4)), np.geomspace(1e7, 1e9, 4).round(), named=False),
    "three": lambda: runs([1e7], [1e7, 1e8, 1e9], named=True),
    "many": lambda: runs(np.round(np.geomspace(1e6, 1e8, 24)), [1e7, 1e8, 1e9], named=True),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("sweeps")
    for name, rows in KINDS.items():
        rows().write_csv(made / f"{name}.csv")
    return made


def cvfp(*words, code=0):
    done = CliRunner().invoke(app, ["report", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def stable(text):
    """The report without versions and hashes."""
    return re.sub(r"(?m)^(Command|コマンド)[:：].*$|^\| \S+ \| [\d,]+ \| `[0-9a-f]{16}` \|$", "", text)


@pytest.mark.parametrize(("name", "lang"), [
    ("nd", "en"), ("three", "en"), ("many", "en"), ("three", "ja"), ("nd", "ja"),
    pytest.param("many", "ja", marks=pytest.mark.slow)])
def test_anybodys_sweep_gets_a_report_made_for_it(name, lang, folder):
    """To renew after a change that is meant: delete the files and run the tests twice."""
    done = cvfp(folder / f"{name}.csv", "--lang", lang)
    assert "cvfp: template scaling suits these runs" in done.stderr
    text = stable(done.stdout)
    assert not re.search(r"None|nan\b|\{\{|%\(|inf\b", text)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    assert "<tbody>\n</tbody>" not in html
    assert html.count("<table>") == len(re.findall(r"<tbody>\n<tr>", html)) + html.count("SHA-256")
    kept = GOLDEN / f"sweep-{name}.{lang}.md"
    if not kept.exists():
        kept.write_text(text, encoding="utf-8")
        pytest.fail(f"{kept} was not there; it is written, look at it")
    assert text == kept.read_text(encoding="utf-8")


def test_a_report_of_a_metric_that_does_not_vary_says_that_no_law_is_fitted(tmp_path):
    KINDS["nd"]().with_columns(loss=pl.lit(2.0)).write_csv(tmp_path / "flat.csv")
    assert "No law is fitted: the metric takes fewer than three values." in cvfp(tmp_path / "flat.csv").stdout


def test_a_report_says_where_it_is_written_and_with_how_many_figures(folder, tmp_path, monkeypatch):
    out = tmp_path / "report.md"
    for figures, words in ((1, ()), (0, ("--no-figures",))):
        said = cvfp(folder / "three.csv", "-o", out, *words).stderr
        assert said.endswith(f"report.md is written{' with 1 figure' * figures}\n")
        assert out.read_text().count("![") == figures
    monkeypatch.setattr(formats, "missing", lambda: "not_installed")
    said = cvfp(folder / "three.csv", "-o", out).stderr
    assert said.endswith(" is written without figures, as matplotlib is not installed: pip install 'cvfp[figures]'\n")


def test_the_template_that_suits_the_runs_writes_the_report(folder):
    def name(path, **columns):
        records = read([path], REGISTRY).records
        return suited(records.with_columns(**columns), REGISTRY).name

    assert name(EXAMPLE) == "phase1-to-ppl"
    assert name(EXAMPLE, variant=pl.lit("1L_8d_1tok"), experiment=pl.lit("one")) == "summary"
    assert name(folder / "nd.csv") == "scaling"
    assert name(folder / "nd.csv", train_tokens=pl.lit(1e6), params=pl.lit(1e6)) == "summary"


def test_a_sweep_is_about_one_size_or_both_of_each_arm_or_of_all():
    two = pl.concat([KINDS["nd"]().with_columns(experiment=pl.lit(name)) for name in ("a", "b")])
    rows = [KINDS[name]() for name in ("nd", "three", "many")] + [two]
    found = [about(read([each], REGISTRY).records) for each in rows]
    assert [each.get("law") for each in found] == ["chinchilla", None, "chinchilla", "chinchilla"]
    assert [each.get("by") for each in found] == [None, None, None, ("experiment", "variant")]
    assert {(each["x"], each["y"]) for each in found} == {("train_tokens", "val_loss")}
    made = package.write_report(two, template="scaling")
    assert "| beta |" in made.text
    assert "\n\n**b**: `L(N, D)" in made.text
    assert re.search(r"(?m)^\| b \| a \| 16 \| 1.000 ", made.text)


@pytest.mark.parametrize(("words", "said"), [
    (["-o", "x.pdf"], "cannot write 'x.pdf': a report is .md, .html or .tex, not .pdf; write .html and print it"),
    (["-o", "x.ipynb"], "not .ipynb; write .md, or call cvfp.write_report in the notebook"),
    (["-o", "x.docx"], "not .docx; name it one of these"),
    (["-o", "x.md", "--html"], "write a page, and 'x.md' ends in .md; name it x.html"),
    (["-o", "x.tex", "--embed"], "'x.tex' ends in .tex; name it x.html"),
    (["-o", "x.md", "--figures", "svg,gif"], "--figures gif: no such format; there are svg, png, pdf, pgf"),
    (["-o", "x.md", "--figures", "png", "--no-figures"], "give one of them"),
    (["--watch"], "--watch needs the report to be written again: -o FILE"),
])
def test_what_cannot_be_written_is_refused_by_name(words, said, folder):
    done = cvfp(folder / "three.csv", *words, code=2)
    assert said in done.output
    assert len([line for line in done.stderr.splitlines() if "suits" not in line and "is read as" not in line]) == 1


def test_figures_are_written_in_every_format_asked_for_and_the_report_shows_one_it_can(folder, tmp_path):
    pytest.importorskip("matplotlib")
    cvfp(folder / "three.csv", "--figures", "pdf,png", "-o", tmp_path / "a.md")
    assert sorted(file.name for file in (tmp_path / "a_figures").iterdir()) == ["scaling.pdf", "scaling.png"]
    assert "](a_figures/scaling.png)" in (tmp_path / "a.md").read_text()
    cvfp(folder / "three.csv", "-o", tmp_path / "b.tex")
    assert [file.name for file in (tmp_path / "b_figures").iterdir()] == ["scaling.pdf"]
    assert "\\includegraphics{b_figures/scaling.pdf}" in (tmp_path / "b.tex").read_text()


MARKDOWN = """# Title & more

## First_section

A *word*, **bold 50 %** and `x_1 ^ 2 # {y}`: 3 < 4 \\| α ± 1 – R² 🟢 ~ $5 "q" [a link](https://a.b/c_d?e=f%20g&h).

| Name | Value | Interval |
|---|---:|---|
| a_b | 1,234.5 | [1, 2] |
| **supported** | – | – |

![A figure: 50 %](f/a.pdf)

- one
- two

> quoted

```
code_block & more
```
"""


def test_latex_has_rules_and_no_text_that_is_read_as_a_command():
    text = document(MARKDOWN)
    assert "\\title{Title \\& more}" in text
    assert "\\section*{First\\_section}" in text
    assert "\\begin{longtable}{lrl}\n\\toprule\nName & Value & Interval \\\\\n\\midrule" in text
    assert "a\\_b & 1,234.5 & [1,~2] \\\\" in text
    assert "\\caption{A figure: 50 \\%}" in text
    assert "\\texttt{x\\_1 \\textasciicircum{} 2 \\# \\{y\\}}" in text
    assert "\\href{https://a.b/c\\_d?e=f\\%20g\\&h}{a link}" in text
    assert "R\\textsuperscript{2}" in text
    bare = text.replace("\\{", "").replace("\\}", "")
    assert bare.count("{") == bare.count("}")
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    body = re.sub(r"\$[^$\n]+\$|\\(href|includegraphics)(\[.*?\])?\{.*?\}", "",
                  text.partition("\\begin{document}")[2].replace("\\$", "").replace("[1,~2]", ""))
    assert not re.search(r"(?<!\\)[#%^~$_]", body)
    assert escaped("\\input{/etc/passwd}") == "\\textbackslash{}input\\{/etc/passwd\\}"


@pytest.mark.skipif(not shutil.which("lualatex"), reason="no lualatex is installed; the text is checked")
@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_report_in_latex_compiles(lang, tmp_path):
    if lang == "ja" and subprocess.run(["kpsewhich", "luatexja.sty"], capture_output=True).returncode:
        pytest.skip("luatexja is not installed")
    cvfp(EXAMPLE, "--lang", lang, *(["--no-figures"] if lang == "ja" else []), "-o", tmp_path / "r.tex")
    done = subprocess.run(["lualatex", "-interaction=nonstopmode", "-halt-on-error", "r.tex"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "r.pdf").is_file()


def test_tables_in_latex_define_what_an_article_of_others_lacks():
    text = part("| a_b | c |\n|---|--:|\n| x | 1 |\n")
    head, table = text.split("\\begin{longtable}")
    assert "\\let\\plainunderscore\\_" in head
    assert "a\\_b & c" in table


@pytest.mark.skipif(not shutil.which("lualatex"), reason="no lualatex is installed; the text is checked")
@pytest.mark.slow
def test_results_in_latex_compile_in_an_article_of_others(tmp_path):
    runs = package.read(EXAMPLE)
    results = (runs, package.fit(runs, ["power-law", "saturating"]), package.predict(runs, 1e7, "power-law"))
    body = "".join(each.to_latex() for each in results)
    (tmp_path / "a.tex").write_text("\\documentclass{article}\\usepackage{booktabs,longtable,array,textcomp}"
                                    f"\\begin{{document}}{body}\\end{{document}}")
    done = subprocess.run(["lualatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_long_table_in_latex_has_columns_that_break_their_lines():
    text = document(f"| a | b |\n|---|---:|\n| {'word ' * 60}| 1 |\n")
    (width,) = re.findall(r"p\{([\d.]+)\\linewidth\}r", text)
    assert 0.5 < float(width) < 1


def test_a_wide_table_in_latex_is_set_in_smaller_letters_and_words_and_numbers_stay_whole():
    def columns(count, cell):
        text = document("| " + " | ".join(["a heading of words"] * count) + " |\n" + "|---:" * count + "|\n"
                        + f"| {cell} " * count + "|\n")
        size, = re.findall(r"\\(\w+)\\setlength\{\\tabcolsep\}", text)
        return size, [float(each) for each in re.findall(r"p\{([\d.]+)\\linewidth\}", text)]

    assert columns(4, "1,234") == ("small", [])
    size, widths = columns(8, "1,234")
    assert (size, len(widths)) == ("small", 8)
    assert 0.7 < sum(widths) < 1
    size, widths = columns(12, "1,234.5")
    assert size == "scriptsize"
    assert 122 * min(widths) > len("heading")
    assert columns(12, "[0.123, 0.456]")[0] == "tiny"


def test_a_figure_in_pgf_holds_names_as_tex_prints_them():
    made = pytest.importorskip("matplotlib.figure").Figure()
    axes = made.add_subplot()
    axes.yaxis.set_ticks([1.0], ["1L_768d"])
    axes.set_title("50 % of \\$x_1\\$")
    axes.text(0, 0, "a & b")
    paint._in_tex(made)
    assert [each.get_text() for each in axes.get_yticklabels()] == ["1L\\_768d"]
    assert axes.get_title() == "50 \\% of \\$x\\_1\\$"
    assert axes.texts[0].get_text() == "a \\& b"


def test_a_font_installed_since_matplotlib_listed_them_is_found(monkeypatch):
    manager = pytest.importorskip("matplotlib.font_manager")
    plain = [each for each in manager.fontManager.ttflist if each.name not in formats._WIDE_FONTS]
    monkeypatch.setattr(manager.fontManager, "ttflist", plain)
    monkeypatch.setattr(manager, "findSystemFonts", lambda: [plain[0].fname, "/fonts/new.ttc", "/fonts/none.ttf"])

    def add(path):
        if path != "/fonts/new.ttc":
            raise RuntimeError
        plain.append(manager.FontEntry(fname=path, name="Meiryo"))

    monkeypatch.setattr(manager.fontManager, "addfont", add)
    assert formats.wide_fonts() == ["Meiryo"]


def test_a_page_has_contents_coloured_verdicts_and_numbers_to_the_right():
    rows = "| Name | Value | Interval |\n|---|---|---|\n| supported | 1,234.5 | [1, 2] |\n| x | 3% | – |\n"
    text = page(f"# T\n\n## A\n\n{rows}\n## B <i>\n\n**contradicted** — no\n\n## C\n")
    assert '<li><a href="#section-2">B &lt;i&gt;</a></li>' in text
    assert '<h2 id="section-2">B &lt;i&gt;</h2>' in text
    assert '<td class="good">supported</td>' in text
    assert '<strong class="bad">contradicted</strong>' in text
    assert '<th style="text-align:right">Value</th>' in text
    assert '<td style="white-space:nowrap">[1, 2]</td>' in text
    assert "<th>Name</th>" in text
    ja = page("# T\n\n## A\n\n## B\n\n## C\n\n**支持**\n", lang="ja", words={"Contents": "目次", "supported": "支持"})
    assert "<summary>目次</summary>" in ja
    assert '<strong class="good">支持</strong>' in ja


def test_a_script_in_a_name_does_not_end_the_element_of_a_specification():
    text = page("![a](f/a.svg)\n", charts={"f/a.svg": {"title": "</script><script>alert(1)</script>"}}, bundle="x")
    assert text.count("</script>") == 2
    assert "<\\/script><script>alert(1)<\\/script>" in text


@pytest.mark.skipif(chromium.found() is None, reason="no Chromium is installed")
def test_a_page_is_as_wide_as_a_telephone_and_asks_for_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    rows = "| " + " | ".join(["a long heading"] * 12) + " |\n" + "|---" * 12 + "|\n" + "| cell " * 12 + "|\n"
    wide = tmp_path / "wide.html"
    wide.write_text(page(f"# T{'x' * 90}\n\n{rows}\n`{'y' * 200}`\n"), encoding="utf-8")
    cvfp(EXAMPLE, "--embed", "-o", tmp_path / "report.html")
    with chromium.Page(tmp_path / "browser") as browser:
        for file in (wide, tmp_path / "report.html"):
            browser.open(file, 390)
            assert browser.value("window.innerWidth") == 390
            assert browser.value("document.documentElement.scrollWidth") <= 390
            assert [each for each in browser.requests() if not each.startswith(("file:", "data:"))] == []
        browser.open(wide, 390)
        assert browser.value("document.querySelector('.table').scrollWidth") > 390


@pytest.mark.slow
@pytest.mark.skipif(chromium.found() is None, reason="no Chromium is installed")
def test_figures_can_be_hovered_over_from_disk(folder, tmp_path):
    pytest.importorskip("vl_convert")
    cvfp(folder / "nd.csv", "--interactive", "-o", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("vegaEmbed=") <= 1
    assert text.count('class="spec"') == 3
    with chromium.Page(tmp_path / "browser") as browser:
        browser.open(tmp_path / "page.html", 390)
        browser.value("new Promise(done => setInterval(() => document.querySelectorAll('svg.marks').length == 3 && "
                      "done(), 50))")
        assert browser.requests() == [(tmp_path / "page.html").as_uri()]
        assert browser.value("document.documentElement.scrollWidth") <= 390
        x, y = browser.value("(() => {const mark = document.querySelector('.mark-symbol path'); "
                             "mark.scrollIntoView({block: 'center', inline: 'center'}); "
                             "const box = mark.getBoundingClientRect(); "
                             "return [box.x + box.width / 2, box.y + box.height / 2]})()")
        browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        shown = browser.value("new Promise(done => setInterval(() => {const tip = document.querySelector("
                              "'#vg-tooltip-element.visible'); tip && done(tip.innerText)}, 50))")
        assert "Val loss" in shown
        assert [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"] == []


def test_without_the_bundle_hovering_is_refused_with_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    said = cvfp(folder / "three.csv", "--interactive", "-o", tmp_path / "a.html", code=2).output
    assert "pip install 'cvfp[interactive]'" in said
    assert not (tmp_path / "a.html").exists()


def test_a_watched_report_follows_the_runs_until_it_is_interrupted(tmp_path):
    folder, out = store.create(tmp_path / "made"), tmp_path / "r.md"

    def add(tokens):
        store.write(folder, RunResult(record=Record(
            run_id=f"a-{tokens}", experiment="made", variant="1L_8d_1tok", num_samples=tokens, train_tokens=tokens,
            val_ppl=1000 * tokens**-0.5, seed=1)))

    def wait_for(text):
        end = time.monotonic() + 120
        while time.monotonic() < end and not (out.is_file() and text in out.read_text()):
            assert watching.poll() is None, watching.communicate()
            time.sleep(0.1)
        assert text in out.read_text()

    watching = subprocess.Popen(
        [sys.executable, "-c", "from cvfp_core.cli import main; main()", "report", str(folder), "--template", "summary",
         "--no-figures", "-o", str(out), "--watch"], stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    for tokens in (100, 200):
        add(tokens)
    wait_for("2 runs in 1 series")
    add(400)
    wait_for("3 runs in 1 series")
    watching.send_signal(signal.SIGINT)
    said = watching.communicate(timeout=60)[1]
    assert watching.returncode == 0
    assert "Traceback" not in said
    assert "Ctrl-C ends it" in said


def test_what_a_run_suggests_gives_a_report_with_a_figure(folder, tmp_path):
    pytest.importorskip("matplotlib")
    cvfp(folder / "three.csv", "--template", "summary", "-o", tmp_path / "report.md")
    assert "](report_figures/scaling.svg)" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "report_figures" / "scaling.svg").is_file()


def test_a_command_draws_a_forecast_or_a_law_of_two_sizes(folder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    for words in (["three.csv", "--y", "val_loss"], ["nd.csv", "--law", "chinchilla"]):
        done = CliRunner().invoke(app, ["plot", str(folder / words[0]), *words[1:], "-o", str(tmp_path / "a.svg")])
        assert done.exit_code == 0, done.output
        assert ("observed against predicted" in (tmp_path / "a.svg").read_text()) == ("--law" in words)
    monkeypatch.setattr(forecasts, "forecast", lambda *_: pytest.fail("the work was begun"))
    done = CliRunner().invoke(app, ["plot", str(folder / "three.csv"), "-o", str(tmp_path / "a.gif")])
    assert done.exit_code == 2
    assert "a figure is .svg, .png, .pdf, .pgf" in done.output
