"""Running the engine over many points: batches, priors, samplers and their diagnostics."""
