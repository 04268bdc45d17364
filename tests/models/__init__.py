"""Models that tests stand on: things of the outside with rules of their own, and ways to make them fail."""
