"""`make bench`: what the whole road can do on this machine, and what the same machine does without it."""
