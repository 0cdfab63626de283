#!/usr/bin/env python3
"""A plug-in for GIMP 3 that removes the selection, colours a layer from another one, or enlarges the picture.

GIMP expects it at plug-ins/psal/psal.py, executable, and runs it with its own Python. So it imports nothing of psal, but runs
the command psal.
See examples/gimp.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio, GLib, GObject  # noqa: E402  # importable only after the line above

REMOVE, COLORIZE, ENLARGE = "psal-remove-selection", "psal-colorize-from-layer", "psal-enlarge"
WAIT = 0.1  # seconds between two checks of the command
OWN_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE")  # variables meant for GIMP's Python
LONGEST = 1000  # characters in an error


class PsalFailedError(Exception):
    """The command was not found, or failed; its text is for the user."""


def command() -> list[str]:
    """The command psal: $PSAL if set, else the one on PATH or in ~/.local/bin.

    Raises:
        PsalFailedError: it was not found.
    """
    place = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path.home() / ".local/bin")])
    program = os.environ.get("PSAL") or shutil.which("psal", path=place)
    if not program:
        raise PsalFailedError("The command psal was not found. Install psal, or set the variable PSAL to its path.")
    return [program]


def run_psal(arguments: Sequence[str | Path], tell: Callable[[], object]) -> None:
    """Runs psal and calls `tell` while it works.

    Raises:
        PsalFailedError: it failed; the text is the command's.
    """
    variables = {name: value for name, value in os.environ.items() if name not in OWN_PYTHON}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen([*command(), *map(str, arguments), "-q"], stdout=said, stderr=said, env=variables)
        except OSError as error:
            raise PsalFailedError(f"psal cannot be started: {error.strerror}") from error
        try:
            while True:
                try:
                    code = process.wait(WAIT)
                    break
                except subprocess.TimeoutExpired:
                    tell()
        finally:
            if process.poll() is None:  # GIMP ends this plug-in
                process.terminate()
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if code:
        raise PsalFailedError(text[-LONGEST:] or f"psal ended with exit code {code}")


def save(image: Gimp.Image, path: Path) -> None:
    """Writes an image of one layer as PNG with 8 bits, or with 16 if it has more than 8."""
    if image.get_base_type() == Gimp.ImageBaseType.INDEXED:
        image.convert_rgb()
    deep = image.get_precision() not in (
        Gimp.Precision.U8_LINEAR,
        Gimp.Precision.U8_NON_LINEAR,
        Gimp.Precision.U8_PERCEPTUAL,
    )
    wanted = Gimp.Precision.U16_NON_LINEAR if deep else Gimp.Precision.U8_NON_LINEAR
    if image.get_precision() != wanted:
        image.convert_precision(wanted)
    if not Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(path)), None):
        raise PsalFailedError(f"GIMP cannot write {path}")


def save_visible(image: Gimp.Image, path: Path) -> None:
    """Writes an image as it is displayed, all visible layers merged."""
    copy = image.duplicate()
    try:
        copy.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
        save(copy, path)
    finally:
        copy.delete()


def save_layer(layer: Gimp.Layer, path: Path) -> None:
    """Writes a single layer, at its own size."""
    image = layer.get_image()
    copy = Gimp.Image.new_with_precision(layer.get_width(), layer.get_height(), image.get_base_type(), image.get_precision())
    try:
        profile = image.get_color_profile()
        if profile is not None:
            copy.set_color_profile(profile)
        alone = Gimp.Layer.new_from_drawable(layer, copy)
        copy.insert_layer(alone, None, 0)
        alone.set_offsets(0, 0)
        alone.set_visible(True)
        save(copy, path)
    finally:
        copy.delete()


def save_selection(image: Gimp.Image, path: Path) -> None:
    """Writes the selection, white on black."""
    copy = image.duplicate()
    try:
        if copy.get_base_type() == Gimp.ImageBaseType.INDEXED:  # which may have neither white nor black
            copy.convert_rgb()
        layer = copy.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
        selected = Gimp.Selection.save(copy)
        Gimp.Selection.none(copy)
        layer.resize_to_image_size()
        copy_filled(layer, 0.0)
        copy.select_item(Gimp.ChannelOps.REPLACE, selected)
        copy_filled(layer, 1.0)
        Gimp.Selection.none(copy)
        copy.flatten()
        save(copy, path)
    finally:
        copy.delete()


def copy_filled(layer: Gimp.Layer, share: float) -> None:
    """Fills the selected part of a layer: black for share 0, white otherwise."""
    Gimp.context_push()
    try:
        Gimp.context_set_opacity(100.0)
        Gimp.context_set_paint_mode(Gimp.LayerMode.NORMAL)
        if share:
            layer.edit_fill(Gimp.FillType.WHITE)
        else:
            Gimp.context_set_default_colors()
            layer.edit_fill(Gimp.FillType.FOREGROUND)
    finally:
        Gimp.context_pop()


def add_result(image: Gimp.Image, path: Path, name: str, selected: bool) -> Gimp.Layer:
    """Adds a result as the top layer; selected: with the selection as its layer mask."""
    layer = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(path)))
    layer.set_name(name)
    image.insert_layer(layer, None, 0)
    if selected:
        layer.add_alpha()
        layer.add_mask(layer.create_mask(Gimp.AddMaskType.SELECTION))
    return layer


def remove(image: Gimp.Image, folder: Path, config: Gimp.ProcedureConfig) -> None:
    """Fills the selection on a new layer."""
    if Gimp.Selection.is_empty(image):
        raise PsalFailedError("Nothing is selected: select what is to be removed.")
    save_visible(image, folder / "image.png")
    save_selection(image, folder / "mask.png")
    grown = ["--dilate", str(config.get_property("grow")), "--seed", str(config.get_property("seed"))]
    given: list[str | Path] = [folder / "image.png", "--mask", folder / "mask.png", "-o", folder / "out.png", *grown]
    run_psal(["inpaint", *given], Gimp.progress_pulse)
    kept = Gimp.Selection.save(image)
    if config.get_property("grow"):
        Gimp.Selection.grow(image, config.get_property("grow"))
    add_result(image, folder / "out.png", "Removed (psal)", selected=True)
    image.select_item(Gimp.ChannelOps.REPLACE, kept)  # restore the user's selection, or a second run would grow it again
    image.remove_channel(kept)


def colorize(image: Gimp.Image, layer: Gimp.Layer, folder: Path, config: Gimp.ProcedureConfig) -> None:
    """Colours a layer and adds the result as a new layer."""
    reference = config.get_property("reference")
    if reference is None or reference.get_id() == layer.get_id():
        raise PsalFailedError("Choose another layer, in colour, to take the colours from.")
    if image.get_base_type() != Gimp.ImageBaseType.RGB:
        raise PsalFailedError("A grey image holds no colours: convert it with Image > Mode > RGB first.")
    save_layer(layer, folder / "grey.png")
    save_layer(reference, folder / "reference.png")
    given: list[str | Path] = [folder / "grey.png", "--ref", folder / "reference.png", "-o", folder / "out.png"]
    run_psal(["colorize", *given, "--strength", f"{config.get_property('strength'):.3f}"], Gimp.progress_pulse)
    added = add_result(image, folder / "out.png", "Coloured (psal)", selected=False)
    _, left, top = layer.get_offsets()
    added.set_offsets(left, top)


def enlarge(image: Gimp.Image, folder: Path, config: Gimp.ProcedureConfig) -> Gimp.Image:
    """Enlarges an image as it is displayed; returns a new image."""
    save_visible(image, folder / "image.png")
    given: list[str | Path] = ["-x", f"{config.get_property('factor'):.3f}", "-o", folder / "out.png"]
    run_psal(["upscale", folder / "image.png", *given], Gimp.progress_pulse)
    return Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(folder / "out.png")))


def ask(procedure: Gimp.Procedure, config: Gimp.ProcedureConfig) -> bool:
    """Shows the options; False when the user cancels."""
    gi.require_version("GimpUi", "3.0")
    from gi.repository import GimpUi

    GimpUi.init("psal")
    dialog = GimpUi.ProcedureDialog.new(procedure, config, "psal")
    dialog.fill(None)
    agreed = bool(dialog.run())
    dialog.destroy()
    return agreed


def run(
    procedure: Gimp.Procedure,
    run_mode: Gimp.RunMode,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    data: None,
) -> Gimp.ValueArray:
    """The callback for all procedures."""
    name = procedure.get_name()
    if run_mode == Gimp.RunMode.INTERACTIVE and not ask(procedure, config):
        return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
    Gimp.progress_init("psal")
    image.undo_group_start()
    made = None
    try:
        with tempfile.TemporaryDirectory(prefix="psal-") as folder:
            if name == REMOVE:
                remove(image, Path(folder), config)
            elif name == COLORIZE:
                colorize(image, drawables[0], Path(folder), config)
            else:
                made = enlarge(image, Path(folder), config)
    except (PsalFailedError, OSError) as error:
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(str(error)))
    finally:
        image.undo_group_end()
        Gimp.progress_end()
    values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())
    if made is not None:
        if run_mode == Gimp.RunMode.INTERACTIVE:
            Gimp.Display.new(made)
        values.remove(1)
        values.insert(1, GObject.Value(Gimp.Image, made))
    Gimp.displays_flush()
    return values


class Psal(Gimp.PlugIn):  # type: ignore[misc]  # gi has no types
    """The plug-in's description for GIMP."""

    def do_set_i18n(self, name: str) -> bool:
        """Returns False: there are no translations."""
        return False

    def do_query_procedures(self) -> list[str]:
        """The names of the procedures."""
        return [REMOVE, COLORIZE, ENLARGE]

    def do_create_procedure(self, name: str) -> Gimp.Procedure:
        """A procedure, with its place in the menus and its options."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        procedure.set_image_types("*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_attribution("The authors of psal", "MIT", "2026")
        written = GObject.ParamFlags.READWRITE
        if name == REMOVE:
            procedure.set_menu_label("_Remove selection (psal)")
            procedure.add_menu_path("<Image>/Filters/Enhance")
            procedure.set_documentation("Fills the selection with what fits from the rest of the picture", None, name)
            procedure.add_int_argument("grow", "_Grow the selection by", "Pixels", 0, 1000, 4, written)
            procedure.add_int_argument("seed", "_Seed", "Another one gives another fill", 0, 2**31 - 1, 0, written)
        elif name == COLORIZE:
            procedure.set_menu_label("_Colorize from layer (psal)")
            procedure.add_menu_path("<Image>/Colors")
            procedure.set_documentation("Gives the layer the colours of another one with a scene like it", None, name)
            procedure.add_layer_argument("reference", "_Colours from", "A layer in colour", True, written)
            procedure.add_double_argument("strength", "_Strength", "1 as they were found", 0.0, 2.0, 1.0, written)
        else:
            procedure.set_menu_label("_Enlarge (psal)")
            procedure.add_menu_path("<Image>/Image/Transform")
            procedure.set_documentation("Enlarges what is seen, as a new image", None, name)
            procedure.add_double_argument("factor", "_Factor", "Up to 16", 1.1, 16.0, 2.0, written)
            procedure.add_image_return_value("enlarged", "Enlarged", "The new image", False, written)
        return procedure


if __name__ == "__main__":
    Gimp.main(Psal.__gtype__, sys.argv)
