"""`psal_cli.generate`: sampling, transport, options, memory model."""
