"""Workflows to try, and the demonstrations that run them."""
