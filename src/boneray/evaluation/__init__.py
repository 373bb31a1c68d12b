"""Floor 7: metrics over cases, with the number of cases and bones behind every mean."""
