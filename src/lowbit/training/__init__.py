"""Training: recipes, optimizers and schedules, the Lightning pieces, checkpoints, and the folder of a run."""
