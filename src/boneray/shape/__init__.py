"""Statistical shape models: built from surfaces in correspondence, fitted to part of a surface."""
