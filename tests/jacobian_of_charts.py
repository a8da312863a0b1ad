"""The Jacobian of a chart's map by differences over the whole search: no claim about it is used."""

import numpy as np
from lmltdm_jax.inference.charts import Charts, to_y


def error_of_jacobian(
    charts: Charts, number: int | np.ndarray, w: np.ndarray, log_jacobian: np.ndarray, step: float
) -> float:
    """The largest error of ln |dy/dw| (n,) at points w (n, dimension) of charts."""
    d = w.shape[1]
    steps = step * np.array([1, -1])[:, None] * np.eye(d)[:, None]
    moved = (w[:, None, None] + steps).reshape(-1, d)
    of = np.repeat(np.broadcast_to(number, len(w)), 2 * d)
    y = to_y(charts, of, moved)[0].reshape(len(w), d, 2, d)
    matrices = (y[:, :, 0] - y[:, :, 1]) / (2 * step)
    return np.abs(np.log(np.abs(np.linalg.det(matrices))) - log_jacobian).max()
