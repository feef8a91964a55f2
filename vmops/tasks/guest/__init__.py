"""Guests from the command line: console, logs, screen, keyboard."""
