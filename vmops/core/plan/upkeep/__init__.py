"""Plans for what nobody launched as it is now: what crashes have left, and what others started."""
