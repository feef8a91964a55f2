"""Images on workers: sent, fetched, looked at, removed."""
