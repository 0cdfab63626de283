"""`psal_cli.upscale`: networks, strips, options, memory model."""
