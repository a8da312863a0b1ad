"""``lmltdm fit``: sample the posterior of a preset; draws, summary, figures and a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lmltdm_jax.cli._results import write_and_show
from lmltdm_jax.errors import InputError

if TYPE_CHECKING:
    from typing import Any

NOT_CONVERGED = 3
_LOG_SECONDS = 20.0


def fit(
    output: Annotated[Path, typer.Option(help="Folder of the results; made if missing.")],
    preset: Annotated[str, typer.Option(help="Analysis: talk2024 or current.")] = "talk2024",
    model: Annotated[
        str, typer.Option(help="Model: dark-higgs, zp-scalar or zp-fermion.")
    ] = "dark-higgs",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same draws.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the chains have not converged.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run, to see everything work; not converged.")
    ] = False,
) -> None:
    """Fit a model to a preset with NUTS: posterior.nc, summary.json, report.md, figures, chains.

    Ctrl-C keeps what was sampled and writes it out; the same command again goes on from there.
    """
    from lmltdm_jax.inference import fit as fitting  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.inference import posterior  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.models import find_model

    target = fitting.build_target(preset, model=find_model(model))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror})") from None
    with _Display() as display:
        settings = fitting.QUICK if quick else fitting.FULL
        try:
            result = fitting.run(target, settings, seed, output, display)
        except KeyboardInterrupt:
            display.close()
            typer.echo(f"interrupted; the same command goes on from {output}", err=True)
            raise
    sampled = posterior.Posterior.of(result)
    posterior.write(sampled, output)
    converged = write_and_show(sampled, output)
    if strict and not converged:
        raise typer.Exit(NOT_CONVERGED)


class _Display:
    """A bar with the time left on a terminal; a line now and then in a pipe or a log."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._lines = not console.is_terminal
        self._started = self._last = time.monotonic()
        self._phase = ""
        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=self._lines,
        )

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._progress.stop()

    def __call__(self, phase: str, share: float, text: str) -> None:
        if self._lines:
            now = time.monotonic()
            if phase != self._phase or now - self._last > _LOG_SECONDS or share == 1.0:
                seconds = now - self._started
                typer.echo(f"{seconds:6.0f} s  {phase:<8} {share:4.0%}  {text}", err=True)
                self._phase, self._last = phase, now
            return
        bar = "sample" if phase == "warm up" else phase
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(bar, total=1.0, text=text)
        self._progress.update(self._tasks[bar], completed=share, text=text)
