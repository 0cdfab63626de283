"""psal: edit photographs at native resolution with networks whose attention is PatchMatch.

The names below load torch when first used, so that `import psal_cli` and `psal --help` stay light.
"""

__version__ = "0.1.0"
__all__ = ["PSAttention", "__version__", "ps_attention"]


def __getattr__(name: str):
    if name in ("PSAttention", "ps_attention"):
        from psal_cli import attention

        return getattr(attention, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
