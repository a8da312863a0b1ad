"""Targets of known chi2, to be minimised."""

from lmltdm_jax.inference.target import Target


class Toy(Target):
    """chi2 a function of u, the place in the prior box from 0 to 1 along each axis."""

    def unit(self, y):
        return self.coordinates.prior.unit_from_box(self.coordinates.to_box(y))

    def evaluate(self, y):
        log_prior = self.coordinates.prior.log_density(y)
        return log_prior, -0.5 * self.chi2(self.unit(y))

    def fit_quality(self, y):
        u = self.unit(y)
        return -0.5 * self.chi2(u), self.residuals(u)

    def columns(self, y):
        return {f"pull_{term.name}": y[0] for term in self.likelihood.term_list}
