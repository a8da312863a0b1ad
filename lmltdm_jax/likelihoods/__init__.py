"""Likelihood terms (one file each, its numbers in ``data/measurements``) and their sum."""
