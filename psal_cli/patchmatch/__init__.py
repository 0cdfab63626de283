"""What the verbs share of PatchMatch editing: strips of rows and diffusion into holes; pyramids, regions and synthesis to come."""
