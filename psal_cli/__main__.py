"""`python -m psal_cli`: the same as `psal`."""

from psal_cli.commands import main

if __name__ == "__main__":
    main()
