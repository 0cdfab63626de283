"""Nodes for ComfyUI. Link or copy this folder into ComfyUI's `custom_nodes`.

psal has to be installed in ComfyUI's own Python. See examples/comfyui.md.
"""

from psal_cli.integrations.comfyui.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
