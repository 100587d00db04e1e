"""Code training data that has been run, not just written."""

__version__ = "0.1.0"
