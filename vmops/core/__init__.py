"""Pure values and functions: no IO, no clock, no randomness, no fabric."""
