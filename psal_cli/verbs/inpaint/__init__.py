"""`psal_cli.inpaint`: completion by patches, the network that guides it, options, memory model."""
