"""Numerical tools without physics of this model; imports nothing above it."""
