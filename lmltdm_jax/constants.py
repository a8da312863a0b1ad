"""Unit conversions and exact constants; measured inputs live in ``data/inputs``."""

HBAR_GEV_S = 6.582119569e-25
"""hbar in GeV s (exact in SI 2019, CODATA 2022)."""

GEV_INV2_TO_CM2 = 3.893793721e-28
"""(hbar c)^2 in GeV^2 cm^2 (CODATA 2022)."""

SPEED_OF_LIGHT_CM_S = 2.99792458e10
"""c in cm/s (exact)."""

GEV_INV2_TO_CM3_S = GEV_INV2_TO_CM2 * SPEED_OF_LIGHT_CM_S
"""sigma v from GeV^-2 to cm^3/s."""

HBARC_GEV_M = 1.973269804e-16
"""hbar c in GeV m (CODATA 2022)."""

M_PLANCK = 1.22091e19
"""Planck mass (not reduced) in GeV, the value used by the relic-density reference code."""

OMEGA_H2_PREFACTOR = 2.742e8
"""Omega h^2 = 2.742e8 (m/GeV) Y_0: s_0 / (rho_crit/h^2) with T_0 = 2.7255 K (micrOMEGAs)."""
