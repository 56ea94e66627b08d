"""Execution of many jobs: calls in other processes of this machine or of a cluster, and claims in a shared folder."""
