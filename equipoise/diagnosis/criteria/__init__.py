"""Criteria that several symptoms share: functions of the history of a run and of the values of losses and metrics."""
