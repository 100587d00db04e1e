"""Scores a model, or samples that exist, on benchmarks: protocols, pass@k with intervals, comparison.

    protocols -> problems -> grade (one problem: ask, read, run) -> scores -> compare

A score is stored with its protocol's name and hash: the form of a prompt alone moves scores by tens of points.
"""
