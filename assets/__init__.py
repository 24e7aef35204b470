"""Dagster and the command line that drives it: thin, and without torch."""
