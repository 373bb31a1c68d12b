"""Floor 2: clinical numbers of bones, in RAS mm, each with a status."""
