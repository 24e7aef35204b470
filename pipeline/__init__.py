"""The method: problems, drawings, trajectories, scores and sets.

Nothing in this package knows of Dagster, and importing it never imports torch or vLLM.
"""
