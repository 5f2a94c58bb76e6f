"""Records -> a view of plain data -> a Jinja template -> Markdown, HTML, figures.

    inputs = cvfp_core.reading.read([...])
    template = cvfp_core.report.find("summary", registry)
    text = cvfp_core.report.write(inputs, template, registry)
"""

from cvfp_core.report.render import render
from cvfp_core.report.view import view
from cvfp_core.report.write import Asked, Written, find, write

__all__ = ["Asked", "Written", "find", "render", "view", "write"]
