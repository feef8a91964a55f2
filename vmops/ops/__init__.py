"""Ordered work on one worker or on all: takes workers, returns values, never prints."""
