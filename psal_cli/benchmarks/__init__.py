"""The paper's tables on the user's own machine: what `psal bench` runs."""
