"""Loops compiled by numba, told to LLVM in its own words where it finds no vectors, in the threads that torch has."""
