"""Images from the command line."""
