"""`psal_cli.colorize`: engines, options, memory model."""
