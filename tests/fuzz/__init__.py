"""Fuzzing led by coverage: `python -m tests.fuzz address|dialogue|mail [-runs=N] [FOLDER]`."""
