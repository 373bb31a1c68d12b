"""Data sets as their owners publish them, turned into case folders; splits by patient."""
