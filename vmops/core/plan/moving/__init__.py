"""Plans that take a VM from one worker to another."""
