"""The command `reconstruct` behind HTTP: upload two radiographs, get a job, its progress, results and the viewer."""
