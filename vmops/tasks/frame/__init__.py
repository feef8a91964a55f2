"""What all tasks share: options, selection, output, progress."""
