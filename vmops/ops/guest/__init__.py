"""The guest as a person meets it: console, logs, screen, keyboard."""
