"""Speed of the parts that matter, as ratios against a peer in the same run. Never a timed test."""
