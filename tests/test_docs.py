"""What the pages say is so: every block is run, generated pages are what the program gives."""

import importlib.util
from pathlib import Path

import pytest

import made_docs
import made_environments

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/*.md"))


def generator(name):
    path = ROOT / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache of corpora for all pages: several take the same."""
    return str(tmp_path_factory.mktemp("cache"))


def environment(folder, cache):
    return made_environments.make(folder) | {"CVFP_CACHE": cache}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_does_what_the_page_says(page, tmp_path, cache):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "runs.csv").write_bytes((ROOT / "examples" / "phase1-to-ppl" / "runs.csv").read_bytes())
    made_docs.run(page, tmp_path, environment(tmp_path, cache))


@pytest.mark.parametrize("name", ["cvfp-gru", "phase1-to-ppl"])
def test_an_example_does_what_its_readme_says(name, tmp_path, cache):
    example = made_environments.copy(ROOT / "examples" / name, tmp_path)
    made_docs.run(example / "README.md", example, environment(tmp_path, cache))


def test_the_page_of_hooks_is_what_the_program_gives():
    assert (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8") == generator("make_hooks_md").page()


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
])
def test_a_page_that_is_wrong_fails(page, tmp_path, broken, message):
    with pytest.raises(AssertionError, match=message):
        made_docs.run(page(broken), tmp_path, made_environments.make(tmp_path))
