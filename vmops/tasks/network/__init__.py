"""Networks from the command line."""
