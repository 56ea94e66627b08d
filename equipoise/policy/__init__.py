"""Policies that were learned: what they see, what they turn, the network between, and the file that holds one.

observation ──▶ features ──▶ network ──▶ positions of heads ──▶ knobs
                [-1, 1]^n                [-1, 1]^k

Numbers only, no torch: controllers use it in a run, meta/ where policies are made.
"""
