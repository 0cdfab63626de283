"""Pictures that explain results: match fields, comparisons, contact sheets."""
