"""Floor 2: numbers that compare a predicted bone with its reference; every one states its unit."""
