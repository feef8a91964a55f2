"""Who is to reach whom, who does, and why not."""
