"""Where tables go: the terminal's width, or one wide enough for every column in a pipe."""

from rich.console import Console

PIPE_WIDTH = 200


def stdout_console() -> Console:
    """Console on stdout; markup and highlighting stay off in a pipe, lines are not cut at 80."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
