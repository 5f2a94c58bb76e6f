"""Records -> a view of plain data -> a Jinja template -> Markdown, HTML, figures.

    from cvfp_core.report.write import find, write

    report = write(cvfp_core.reading.read([...]), find("summary", registry), registry)
"""
