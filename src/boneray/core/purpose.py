"""What every output says of itself."""

RESEARCH_USE = "Research use only, not a medical device."
DEMONSTRATION = "Demonstration: this checkpoint has only seen phantoms (bones built from formulas), no patient."
