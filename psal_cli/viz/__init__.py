"""Pictures about a result: match fields, comparisons, contact sheets."""
