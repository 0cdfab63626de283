"""Doors into other programs: nodes for ComfyUI, a plug-in for GIMP, a script for darktable."""
