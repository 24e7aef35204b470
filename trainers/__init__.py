"""Training jobs on the exported sets: torch and transformers, and of Dagster only its pipes."""
