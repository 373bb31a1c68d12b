"""Training losses by name: (logits or prediction, reference) -> scalar."""
