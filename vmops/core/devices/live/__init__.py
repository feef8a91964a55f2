"""What is changed in a machine that runs, by its monitor."""
