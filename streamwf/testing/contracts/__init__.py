"""What the adapters of each port hold to, as tests for pytest; they need pytest-asyncio, too.

An adapter's own test, here or elsewhere, is a subclass that gives the adapter by a fixture.
"""
