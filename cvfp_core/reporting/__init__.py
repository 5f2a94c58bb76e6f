"""Records -> a view of plain data -> a Jinja template -> Markdown, HTML, figures.

    from cvfp_core.reporting.write import find, write

    report = write(cvfp_core.ingesting.reading.read([...]), find("summary", registry), registry)
"""
