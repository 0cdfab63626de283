"""What a test has GIMP 3 do in batch mode, in GIMP's own Python: see test_integrations_gimp.py. JOB is written before it."""

import json

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp, Gio  # noqa: E402

FOLDER = JOB["folder"]  # noqa: F821  # written before this text


def load(name):
    return Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(f"{FOLDER}/{name}"))


def save(image, name):
    Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(f"{FOLDER}/{name}"), None)


def call(name, image, layer, **options):
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_core_object_array("drawables", [layer])
    for option, value in ({"run-mode": Gimp.RunMode.NONINTERACTIVE, "image": image} | options).items():
        config.set_property(option, value)
    return procedure.run(config)


def select(image):
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 12, 10, 8)


def work():
    said = {}
    for name in ("photo", "deep"):
        image = load(f"{name}.png")
        layer = image.get_layers()[0]
        select(image)
        status = call("psal-remove-selection", image, layer, grow=0).index(0)
        layers = image.get_layers()
        said[name] = [int(status), [each.get_name() for each in layers], layers[0].get_mask() is not None]
        save(image, f"{name}_removed.png")
    image = load("photo.png")
    said["empty"] = [int(call("psal-remove-selection", image, image.get_layers()[0]).index(0)), Gimp.get_pdb().get_last_error()]
    returned = call("psal-enlarge", image, image.get_layers()[0], factor=1.5)
    enlarged = returned.index(1)
    said["enlarged"] = [int(returned.index(0)), enlarged.get_width(), enlarged.get_height()]
    save(enlarged, "enlarged.png")
    grey = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(f"{FOLDER}/grey.png"))
    image.insert_layer(grey, None, 0)
    status = call("psal-colorize-from-layer", image, grey, reference=image.get_layers()[1], strength=1.0).index(0)
    said["colorized"] = [int(status), image.get_layers()[0].get_name()]
    save(image, "colorized.png")
    return said


with open(f"{FOLDER}/said.json", "w") as file:
    json.dump(work(), file)
