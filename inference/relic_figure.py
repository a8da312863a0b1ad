"""lambda_PhiX of the relic density against m_X and m_H1: both branches, and what excludes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.relic_coupling import RelicCouplings, lambda_for_relic
from lmltdm_jax.parameters import Parameters, parameter_info
from lmltdm_jax.prediction import lanes

from .figures import new_figure
from .planes import Axis, evaluate

_COUPLINGS = (1e-7, 4.0 * np.pi)
_LINE, _BELLE2, _HIGGS = "#1f5a94", "#2c8a57", "#8c1d18"
_SIZE = (160, 90)


def branches(axis: Axis, base: Parameters, target: float) -> RelicCouplings:
    """:func:`lambda_for_relic` at every value of the axis; arrays (n,)."""
    sm = StandardModel.load("talk2024")

    def one(value: jax.Array) -> RelicCouplings:
        return lambda_for_relic(base.replace(**{axis.name: value}), sm, target)

    run = top_level_jit(lambda values: jax.lax.map(one, values, batch_size=lanes()))
    return jax.tree.map(np.asarray, run(jnp.asarray(axis.values)))


def relic() -> Figure:
    """Against m_X at the talk's m_H1 and against m_H1 at its m_X; preset talk2024."""
    base = Parameters.benchmark()
    likelihood = Likelihood.from_preset("talk2024")
    omega = Measurement.load("relic_density", "planck18")
    assert omega.value is not None
    figure = new_figure(12.5, 5.8)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, fixed in zip(panels, ("m_x", "m_h1"), ("m_h1", "m_x"), strict=True):
        info, other = parameter_info(name), parameter_info(fixed)
        axis = Axis.spaced(name, *info.prior, _SIZE[0])
        _excluded(axes, likelihood, axis, base)
        _regimes(axes, name, base)
        found = branches(axis, base, omega.value)
        axes.plot(axis.values, found.low, color=_LINE, lw=2.0, label="small coupling")
        axes.plot(axis.values, found.high, color=_LINE, lw=1.6, ls="--", label="large coupling")
        axes.plot(getattr(base, name), base.lambda_phix, "*", ms=15, color="black", mec="white")
        axes.set(xscale="log", yscale="log", xlim=info.prior, ylim=_COUPLINGS)
        axes.set_xlabel(rf"${info.latex}$ [GeV]")
        value = f"{getattr(base, fixed):g} {other.unit}"
        axes.set_title(rf"$\Omega h^2 = {omega.value:g}$, ${other.latex}$ = {value}", fontsize=11)
    panels[0].set_ylabel(rf"${parameter_info('lambda_phix').latex}$")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _excluded(axes: Axes, likelihood: Likelihood, x: Axis, base: Parameters) -> None:
    """Where BR(H -> inv) is above its limit, and where B+ -> K+ inv is within 2 sigma."""
    rate = Measurement.load("belle2_bknunu", "br_np_talk")
    invisible = Measurement.load("higgs_invisible", "br_inv_talk")
    assert rate.value is not None and rate.error_up is not None and invisible.limit is not None

    def predict(p: Parameters):
        observables = likelihood.evaluate(p).observables
        return observables.br_bplus_kplus_np, observables.br_h2_inv

    y = Axis.spaced("lambda_phix", *_COUPLINGS, _SIZE[1])
    b_rate, h_rate = evaluate(predict, x, y, base)
    grid = x.values, y.values
    two_sigma = norm.ppf(0.5 * (1.0 + 0.9545)) * rate.error_up
    edges = [rate.value - two_sigma, rate.value + two_sigma]
    axes.contourf(*grid, b_rate, edges, colors=[_BELLE2], alpha=0.18)
    axes.contourf(*grid, h_rate, [invisible.limit, np.inf], colors=[_HIGGS], alpha=0.18)
    axes.fill_between([], [], color=_BELLE2, alpha=0.18, label="B⁺→K⁺ inv of the talk, 2σ")
    text = f"BR(H→inv) > {invisible.limit:g}"
    axes.fill_between([], [], color=_HIGGS, alpha=0.18, label=text)


def _regimes(axes: Axes, name: str, base: Parameters) -> None:
    """Lines at the pole and where X X* -> H1 H1 opens."""
    pole = 0.5 * base.m_h1 if name == "m_x" else 2.0 * base.m_x
    opens = base.m_h1 if name == "m_x" else base.m_x
    for value, text in ((pole, "pole"), (opens, "H1 H1 opens")):
        axes.axvline(value, color="0.6", lw=0.8, ls=":")
        axes.text(value, 2e-7, text, rotation=90, fontsize=8, color="0.4", ha="right", va="bottom")
