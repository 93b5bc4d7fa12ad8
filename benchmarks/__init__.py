"""Ours and peers side by side: `python -m benchmarks NAME ... [--quick] [--json FILE]`.

A part yields tables; every ratio in a table is taken within one run, since a machine is not the
same from one day to the next.
"""
