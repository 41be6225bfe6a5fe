"""data/: things to learn from that are made here: illustrated scenes with captions."""
