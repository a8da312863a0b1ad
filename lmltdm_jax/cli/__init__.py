"""The command line ``lmltdm``: one file per subcommand, each importing what it needs when it runs.

Exit codes: 0 done, 2 unusable input (one line on stderr, no traceback), 3 ``fit --strict`` without
convergence, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lmltdm_jax.cli.compare import compare
from lmltdm_jax.cli.data import data
from lmltdm_jax.cli.fit import fit
from lmltdm_jax.cli.parameters import parameters
from lmltdm_jax.cli.plot import plot
from lmltdm_jax.cli.predict import predict
from lmltdm_jax.cli.profile import profile
from lmltdm_jax.cli.report import report
from lmltdm_jax.errors import LmltdmError

INPUT_ERROR = 2
INTERRUPTED = 130


class _Group(TyperGroup):
    """Turns our own exceptions into one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LmltdmError as error:
            # One line, whatever a file name or a cell contained.
            typer.echo("error: " + " ".join(str(error).split()), err=True)
            raise typer.Exit(INPUT_ERROR) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Differentiable likelihood engine for the gauged U(1) Lmu-Ltau model.",
)
app.command("predict")(predict)
app.command("fit")(fit)
app.command("report")(report)
app.command("compare")(compare)
app.command("profile")(profile)
app.command("parameters")(parameters)
app.command("data")(data)
app.add_typer(plot, name="plot")


def _show_version(wanted: bool) -> None:
    if wanted:
        from lmltdm_jax import __version__

        typer.echo(f"lmltdm {__version__}")
        raise typer.Exit()


@app.callback()
def _start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    from lmltdm_jax._precision import enable_compilation_cache

    enable_compilation_cache()


def _leave_at_once() -> None:
    """Unlike sys.exit not after what is being compiled on another thread."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def main() -> None:
    """Entry point of the ``lmltdm`` script."""
    try:
        app()
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        _leave_at_once()
    except SystemExit as end:
        # What typer makes of an interrupt.
        if end.code == INTERRUPTED:
            _leave_at_once()
        raise
    except BrokenPipeError:
        # The reader of our stdout has left (| head): nothing is wrong, nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
