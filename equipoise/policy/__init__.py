"""Learned policies: features of a run, the network that maps them to actions, and the file that holds a policy.

observation ──▶ features ──▶ network ──▶ positions of heads ──▶ knobs
                [-1, 1]^n                [-1, 1]^k

Based on numpy, without torch. Controllers use policies during a run; meta/ trains them.
"""
