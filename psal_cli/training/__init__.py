"""The recipes that made weights/: data, loss and loop, one file per task, run with python -m psal_cli.training.<task>."""
