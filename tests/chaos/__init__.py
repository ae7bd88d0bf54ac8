"""Chaos: the real stack, a stream of recordings, and one process killed at a random moment; then everything is checked.

    python -m tests.chaos --rounds 50      or      make chaos ROUNDS=50

`stack` runs the system under test, `faults` knows whom to kill, `invariants` says what must hold afterwards, `rounds`
plays one round, `report` keeps and shows them. What is promised stands in docs/reliability.md.
"""
