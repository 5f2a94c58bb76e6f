"""The command line: parse, call one function, print. Heavy imports happen inside the commands."""


def main() -> None:
    """The `cvfp` program."""
    from cvfp_core.cli.app import app

    app()
