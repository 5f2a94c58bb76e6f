"""What the pages say is so: every block is run, generated pages are what the program gives."""

import importlib.util
import json
import random
import shutil
from pathlib import Path

import pytest

import benchmarks_path
import made_docs
import made_environments
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Law
from cvfp_core.schema.quantities import QUANTITIES

ROOT = Path(__file__).parents[1]
TYPED = ["README.md", "docs/quickstart.md", "docs/your-runs.md", "docs/running.md", "docs/reports.md"]
"""Pages whose commands are typed in a copy of the repository; what they train is only planned."""
PAGES = [page for page in sorted(ROOT.glob("docs/*.md"))
         if f"docs/{page.name}" not in TYPED
         and page.name not in ("clusters.md", "python.md")]  # which take a cluster and a kernel (test_notebook.py)


def generator(name):
    path = ROOT / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache of corpora for all pages: several take the same."""
    return str(made_environments.once(tmp_path_factory, "cache", lambda _: None))


def environment(folder, cache):
    return made_environments.make(folder) | {"CVFP_CACHE": cache}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_does_what_the_page_says(page, tmp_path, cache):
    example = tmp_path / "examples" / "phase1-to-ppl"
    example.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "phase1-to-ppl" / "runs.csv", example)
    made_docs.run(page, tmp_path, environment(tmp_path, cache))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cvfp-gru", "phase1-to-ppl"])
def test_an_example_does_what_its_readme_says(name, tmp_path, cache):
    example = made_environments.copy(ROOT / "examples" / name, tmp_path)
    made_docs.run(example / "README.md", example, environment(tmp_path, cache))


def test_what_a_page_does_not_install_is_not_there(tmp_path):
    env = made_environments.make(tmp_path)
    sees = made_docs.Block(line=1, language="python", text="import cvfp_core, torch, hatchling\n", file=None)
    made_docs.step(sees, tmp_path, env, "page.md")
    tests = made_docs.Block(line=1, language="sh", text="python -m pytest --version\n", file=None)
    with pytest.raises(AssertionError, match="No module named pytest"):
        made_docs.step(tests, tmp_path, env, "page.md")
    installs = made_docs.Block(line=1, language="sh", text="python -m pip install pytest\n", file=None)
    made_docs.step(installs, tmp_path, env, "page.md")
    assert made_docs.step(tests, tmp_path, env, "page.md")[0] == f"pytest {pytest.__version__}\n"


@pytest.mark.parametrize(("limit", "said"), [(3600.0, None), (0.0, "expected at most 0 s, took ")])
def test_the_benchmark_of_an_authors_loop_fails_beyond_its_limit(limit, said, tmp_path, monkeypatch, capsys):
    benchmark = benchmarks_path.plugin_loop()
    (tmp_path / "page.md").write_text("```sh\nsleep 0.01 # a step\n```\n")
    monkeypatch.setattr(benchmark, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(benchmark, "LIMIT", limit)
    monkeypatch.setattr("sys.argv", ["plugin_loop.py"])
    if said is None:
        benchmark.main()
    else:
        with pytest.raises(SystemExit, match=said):
            benchmark.main()
    step, total = capsys.readouterr().out.splitlines()
    assert step.endswith("s  sleep 0.01 # a step")
    assert f"in all, of {limit:.0f} allowed; " in total


LETTERS = random.Random(0)
WORDS = ["".join(LETTERS.choices("aeioulmnrst", k=LETTERS.randint(3, 9))) for _ in range(3000)]
TEXTS = [" ".join(LETTERS.choices(WORDS, k=60)) for _ in range(300)]
NOT_RUN = {
    "python3 -m venv": "installs; CI does it, as test_readme.py holds",
    "ultrachat": "downloads a data set",
    "--template phase1-to-ppl --lang ja": "the same is run as the README of examples/phase1-to-ppl says it",
}
"""Commands of these pages that are not run here, by a word of theirs, and why."""
SMALL = "--set corpus.embed_dim=32 --set corpus.vocab_size=500"


def planned(command):
    """The command, a run of it only planned, on a small corpus: training would take minutes."""
    command = command.partition(" #")[0].rstrip()
    if not command.startswith("cvfp run "):
        return command
    small = SMALL if "model.match" not in command else ""  # what is matched is as large as it is
    return f"{command.removesuffix(' --dry-run')} --dry-run --no-time --out planned {small}"  # beside what is in runs


@pytest.fixture
def repository(tmp_path):
    """A copy of what a reader of the repository types commands on, with a text of their own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("cvfp-gru", "*_figures"))
    shutil.copytree(ROOT / "examples" / "logs" / "default", tmp_path / "runs" / "default")
    (tmp_path / "notes").mkdir()
    for i, text in enumerate(TEXTS):
        (tmp_path / "notes" / f"{i}.txt").write_text(text)
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return tmp_path


@pytest.mark.parametrize("name", TYPED)
def test_every_command_of_a_page_runs_in_the_repository_and_prints_what_the_page_shows(name, repository):
    env = made_environments.make(repository)
    blocks = made_docs.blocks((ROOT / name).read_text(encoding="utf-8"))
    for block in blocks:
        if block.file is not None:
            made_docs.step(block, repository, env, name)
    for block in blocks:
        if block.language == "python":
            made_docs.step(block, repository, env, name)
        shown = [each.partition("\n") for each in block.text.split("$ ")[1:]] if block.text.startswith("$ ") else [
            (line, "", "") for line in block.text.splitlines() if block.language == "sh"]
        for command, _, printed in shown:
            if not any(word in command for word in NOT_RUN):
                line = made_docs.Block(line=block.line, language="sh", text=f"{planned(command)}\n", file=None)
                made_docs.assert_printed(printed, made_docs.step(line, repository, env, name)[0], command)


def test_the_page_of_methods_has_the_figures_that_were_measured():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == generator("make_methods_md").page(), "run: python docs/make_methods_md.py"
    assert page.count("\n<!-- ") == page.count("\n|---") >= 15


def test_the_page_of_settings_is_what_the_program_gives():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == generator("make_settings_md").page()


def test_the_page_of_laws_and_its_figures_are_what_the_program_gives():
    made, registry = generator("make_law_list_md"), installed()
    assert (ROOT / "docs" / "law-list.md").read_text(encoding="utf-8") == made.page(registry)
    laws = registry.items(Law)
    assert {file.stem for file in made.FIGURES.iterdir()} == set(laws)
    for name in ("linear-er", "chinchilla"):
        assert (made.FIGURES / f"{name}.svg").read_text(encoding="utf-8") == made.figure(laws[name], registry), name


def test_the_page_of_hooks_is_what_the_program_gives():
    assert (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8") == generator("make_hooks_md").page()


def test_the_page_of_quantities_is_what_the_program_declares():
    page = (ROOT / "docs" / "quantities.md").read_text(encoding="utf-8")
    assert page == generator("make_quantities_md").page()
    assert all(page.count(f"\n| `{name}` |") == 1 for name in QUANTITIES)


PAGE = """\
Put this into `a.py`:

```python
print("from the file")
```

```sh
mkdir inner
cd inner
```

```sh
python3 ../a.py
echo more
```

```
from  the file
...
```
"""


@pytest.fixture
def page(tmp_path):
    def write(text):
        file = tmp_path / "page.md"
        file.write_text(text)
        return file
    return write


def test_blocks_are_files_commands_and_what_they_print(page, tmp_path):
    printed = made_docs.run(page(PAGE), tmp_path, made_environments.make(tmp_path))
    assert printed[2] == "from the file\nmore\n"


@pytest.mark.parametrize(("broken", "message"), [
    (PAGE.replace("from  the", "not from the"), "'not from the file' was not printed"),
    (PAGE.replace("echo more", "false"), "exit code 1"),
    (PAGE.replace("mkdir inner", "false"), "exit code 1"),
    (PAGE.replace('print("from', 'raise SystemExit("from'), "exit code 1"),
    ("```toml\na = 1\n```\n", "nobody runs it"),
    (PAGE + "\n1. Do\n\n   ```sh\n   false\n   ```\n", "line 24: no block that is run begins or ends at '   ```sh'"),
    (PAGE + "\n~~~sh\nfalse\n~~~\n", "line 22: no block that is run begins or ends at '~~~sh'"),
    (PAGE + "\n```sh title\nfalse\n```\n", "line 22: no block that is run begins or ends at '```sh title'"),
    (PAGE + "\n````sh\nfalse\n````\n", "line 22: no block that is run begins or ends at '````sh'"),
    (PAGE + "\n```sh \nfalse\n```\n", "line 22: no block that is run begins or ends at '```sh '"),
    (PAGE + "\n> ```sh\n> false\n> ```\n", "line 22: no block that is run begins or ends at '> ```sh'"),
    (PAGE + "\n```sh\nfalse\n", "line 22: no block that is run begins or ends at '```sh'"),
    ("```sh\ntrue\n~~~\n```\n", "line 3: no block that is run begins or ends at '~~~'"),
])
def test_a_page_that_is_wrong_fails(page, tmp_path, broken, message):
    with pytest.raises(AssertionError, match=message):
        made_docs.run(page(broken), tmp_path, made_environments.make(tmp_path))
