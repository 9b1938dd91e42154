"""Where words go: data to stdout, everything said on the way to stderr."""

import typer


def give(text: str) -> None:
    """Data that a script may read."""
    typer.echo(text)


def tell(text: str) -> None:
    """Progress, warnings, next steps."""
    typer.echo(text, err=True)
