"""From what is wanted and what is observed to what is to be done. Pure decisions."""
