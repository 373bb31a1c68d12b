"""Training losses by name: (logits, classes) -> scalar."""
