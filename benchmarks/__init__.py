# SPDX-License-Identifier: MIT
"""What pycgroup costs, as ratios to a C program and to its peers: ``python -m benchmarks``."""
