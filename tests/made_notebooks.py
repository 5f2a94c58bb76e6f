"""A Jupyter kernel in which tests run cells as a notebook does."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Kernel:
    """A kernel with one cell after another."""

    def __init__(self, client: NotebookClient) -> None:
        self.client = client

    def run(self, source: str) -> Sequence[nbformat.NotebookNode]:
        """The outputs of a cell. Raises CellExecutionError for one that ends in an exception."""
        cells = self.client.nb.cells
        cells.append(nbformat.v4.new_code_cell(source))
        self.client.execute_cell(cells[-1], len(cells) - 1)
        return cells[-1].outputs

    def error(self, source: str) -> str:
        """The traceback below a cell that ends in an exception."""
        try:
            self.run(source)
        except CellExecutionError:
            (last,) = [each for each in self.client.nb.cells[-1].outputs if each.output_type == "error"]
            return COLOURS.sub("", "\n".join(last.traceback))
        raise AssertionError(f"no error: {source}")


def text(outputs: Sequence[nbformat.NotebookNode]) -> str:
    """What outputs read as plain text."""
    return "\n".join(each.text if each.output_type == "stream" else each.data.get("text/plain", "")
                     for each in outputs)


@contextmanager
def kernel(folder: Path, **variables: str) -> Iterator[Kernel]:
    """A kernel that runs in the folder."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    own = {"IPYTHONDIR": str(folder / ".ipython"), "JUPYTER_PLATFORM_DIRS": "1", "CVFP_CACHE": str(folder / "cache")}
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=300, kernel_name="python3", shutdown_kernel="immediate",
                            resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel(env=inherited | own | variables):
        yield Kernel(client)
