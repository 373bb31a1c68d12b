"""Training: a thin Lightning shell around pure networks, and a run folder that says everything."""
