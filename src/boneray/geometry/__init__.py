"""Floor 1: surfaces, resampling, spheres, lines and plane sections, in RAS millimetres."""
