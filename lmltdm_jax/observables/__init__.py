"""Observables: pure functions of a Point (and Widths), one file each."""
