"""In a Jupyter kernel: what docs/python.md says, what cells show, and the example notebook."""

import base64
import json
import re
import shutil
import struct
from pathlib import Path

import pytest

import made_docs
import made_grids

pytest.importorskip("nbclient")
import nbformat

import made_notebooks
from made_notebooks import text

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "scaling-laws.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: logs, and a corpus."""
    folder = tmp_path_factory.mktemp("notebook")
    runs = folder / "examples" / "phase1-to-ppl"
    runs.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "phase1-to-ppl" / "runs.csv", runs)
    made_grids.corpus(folder)
    return folder


@pytest.fixture(scope="module")
def kernel(folder):
    with made_notebooks.kernel(folder, OMP_NUM_THREADS="1") as running:
        yield running


def test_every_block_of_the_page_of_python_does_in_a_notebook_what_the_page_says(kernel):
    shown = []
    for block in made_docs.blocks(PAGE):
        if block.language == "python":
            kernel.run("%reset -f")
            shown.append(kernel.run(block.text))
        else:
            assert block.language == "", block
            made_docs.assert_printed(block.text, text(shown[-1]), f"python.md:{block.line}")
    (figure,) = shown[0]  # a folder becomes a picture of its laws and their forecast in three lines
    picture, size = base64.b64decode(figure.data["image/png"]), figure.metadata["image/png"]
    assert struct.unpack(">II", picture[16:24]) == pytest.approx((2 * size["width"], 2 * size["height"]), abs=1)
    assert 300 < size["width"] < 1200
    assert size["alt"] == "validation perplexity against training tokens"


def test_a_result_below_a_cell_is_html_markdown_and_latex_of_the_same_numbers(kernel):
    (shown,) = kernel.run('import cvfp_core as cvfp\n'
                          'cvfp.fit("examples", ["power-law", "saturating"], where="experiment == \'v4\'")')
    forms = {form: shown.data[form] for form in ("text/plain", "text/html", "text/markdown", "text/latex")}
    numbers = set(re.findall(r"\b\d+\.\d{3}\b", forms["text/plain"]))
    assert len(numbers) > 5
    for form, whole in forms.items():
        assert numbers <= set(re.findall(r"\b\d+\.\d{3}\b", whole)), form
    assert forms["text/latex"].count("\\begin{longtable}") == forms["text/html"].count("<table>") == 2


RUN = """\
import cvfp_core as cvfp
made = cvfp.run(overrides={"variants": ["1L_16d_1tok"], "samples": [4, 8, 16], "device": "cpu", "corpus": {
    "name": "text", "path": "corpus.txt", "vocab_size": 300, "embed_dim": 16}},
    set=["phase1.max_iterations=4", "phase2.epochs=2"], jobs=1)
len(made)
"""


def test_a_grid_shows_in_one_output_how_far_it_is_and_leaves_its_totals(kernel):
    progress, result = kernel.run(RUN)
    assert progress.output_type == "display_data"
    assert re.fullmatch(r"all cells +━+ +3/3 +0:00:\d\d +left 0:00:00", progress.data["text/plain"])
    assert progress.data["text/html"].startswith("<pre")
    assert result.data["text/plain"] == "3"
    warned, again = kernel.run(f"import cvfp_core.running.run as r; leak, r.leak = r.leak, lambda _: 'repeated'\n{RUN}")
    kernel.run("r.leak = leak")
    assert warned.name == "stderr"
    assert re.match(r"/tmp/ipykernel_\S+ UserWarning: repeated\n  made = cvfp.run", warned.text)
    assert again.data["text/plain"] == "3"


def test_a_grid_that_is_interrupted_says_what_is_kept_and_how_to_go_on(kernel):
    stop = """
from cvfp_core.results.progress import Progress
def hear(progress, event, room, heard=Progress.hear):
    if event.kind == "phase2_epoch" and progress.done:
        raise KeyboardInterrupt
    return heard(progress, event, room)
Progress.hear = hear
"""
    shown = kernel.error(f"{stop}{RUN}".replace("4, 8, 16", "5, 10"))
    kernel.run("Progress.hear = hear.__defaults__[0]")
    assert shown.splitlines()[-1].startswith("KeyboardInterrupt")
    progress = kernel.client.nb.cells[-2].outputs[0].data["text/plain"].splitlines()
    assert progress[0] == ("interrupted; 1 of 2 cells are finished and kept in 'runs/default', run the notebook's cell "
                           "again to go on")
    assert re.match(r"all cells +━+ +1/2 ", progress[1])
    assert len(progress) == 2


def test_an_error_ends_in_one_line_below_the_cell_without_the_frames_of_cvfp(kernel):
    shown = kernel.error('import cvfp_core as cvfp\ncvfp.fit(["examples"], where=["params > 1"])')
    assert shown.splitlines()[-1] == ('UsageError: fit(): where must be one str, such as where="params > 1e6"; '
                                      "found list ['params > 1']")
    assert len(shown.splitlines()) < 40
    assert kernel.error('cvfp.read("nowhere")').splitlines()[-1].startswith("CvfpError: 'nowhere' does not exist; give")


def test_the_example_notebook_shows_what_its_cells_give(tmp_path):
    shutil.copytree(EXAMPLE.parent / "logs", tmp_path / "logs")
    stored = nbformat.read(EXAMPLE, as_version=4)
    nbformat.validate(stored)
    with made_notebooks.kernel(tmp_path, OMP_NUM_THREADS="1") as own:
        for cell in stored.cells:
            if cell.cell_type == "code":
                now = own.run(cell.source)
                assert text(now) == text(cell.outputs), cell.source
                assert [set(each.get("data", ())) & {"image/png", "text/html"} for each in now] == [
                    set(each.get("data", ())) & {"image/png", "text/html"} for each in cell.outputs], cell.source
    assert [cell.execution_count for cell in stored.cells if cell.cell_type == "code"] == list(
        range(1, sum(cell.cell_type == "code" for cell in stored.cells) + 1))


def test_the_example_notebook_tells_nothing_of_the_machine_it_ran_on():
    words = json.dumps(json.loads(EXAMPLE.read_text(encoding="utf-8")) | {"nbformat": 4})
    words = re.sub(r'"image/png": "[^"]*"', "", words)
    assert str(Path.home()) not in words
    assert not re.search(r"/(home|tmp|root|work|Users)/|\d{4}-\d\d-\d\dT", words)
    assert EXAMPLE.stat().st_size < 300_000
