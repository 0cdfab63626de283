"""`psal_cli.reconstruct`: one attention layer, options, memory model."""
