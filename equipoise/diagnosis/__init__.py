"""Diagnosis of runs: findings and remedies from signals. Pure functions, which change no weights, knobs or files.

`signals` and `sample_statistics` compute signals, `history` stores them, `symptoms/` holds one record per symptom,
`diagnose` applies them, `remedies` decides on repairs, and `readers/` reads the logs of other programs.
"""
