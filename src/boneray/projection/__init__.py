"""X-ray projection: line integrals through a volume along true camera rays."""
