"""The embedded demo model: the generator of its problems, its training and its scores."""
