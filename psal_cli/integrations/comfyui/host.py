"""ComfyUI's progress bar, cancel button and model folder, for the nodes. ComfyUI is imported only when they are used."""

from collections.abc import Callable
from pathlib import Path

STEPS = 1000  # of the progress bar for each picture
NO_PAINTER = "none"
FOLDER = "inpaint"  # below ComfyUI's models, where others put LaMa and MAT too


def progress_for(count: int) -> Callable[[int], Callable[[float, str], None]]:
    """Returns a function from a picture's number among `count` to the progress hook for its verb.

    Each call moves the bar, and raises ComfyUI's own InterruptProcessingException when the user has cancelled.
    """
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar = ProgressBar(count * STEPS)

    def of(number: int) -> Callable[[float, str], None]:
        def tell(share: float, text: str) -> None:
            throw_exception_if_processing_interrupted()
            bar.update_absolute(round((number + share) * STEPS), count * STEPS)

        return tell

    return of


def painters() -> list[str]:
    """The choices for a painter: "none" and the files in models/inpaint."""
    try:
        import folder_paths
    except ImportError:  # outside ComfyUI
        return [NO_PAINTER]
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    return [NO_PAINTER, *map(str, folder_paths.get_filename_list(FOLDER))]


def painter_file(name: str) -> str | None:
    """The path of a painter that was chosen.

    Raises:
        FileNotFoundError: it is not in models/inpaint, for instance in a workflow from another machine.
    """
    if name == NO_PAINTER:
        return None
    import folder_paths

    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        raise FileNotFoundError(f"{name} is not in ComfyUI's models/{FOLDER}")
    return str(path)
