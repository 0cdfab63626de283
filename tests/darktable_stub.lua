-- darktable as far as the script psal.lua asks of it, and one export: see test_integrations_darktable.py.
-- Arguments: the script, the command psal, the folder of the raws; then names of raws, each with the TIFF file exported of it.

local script, command, folder = arg[1], arg[2], arg[3]
local storage = {}
local values = { command = command, dilate = 0 }

local darktable = {
  preferences = {
    register = function(_, name, kind, label, tooltip, default)
      assert(label and tooltip and (kind == "string" and default == "psal" or math.type(default) == "integer"), name)
    end,
    read = function(_, name, kind)
      assert(kind == "string" or kind == "integer")
      return values[name]
    end,
  },
  register_storage = function(name, label, store, finalize, supported)
    storage = { name = name, label = label, store = store, finalize = finalize, supported = supported }
  end,
  destroy_storage = function(name)
    print("destroyed " .. name)
  end,
  database = {
    import = function(path)
      print("imported " .. path)
      return {
        group_with = function(_, image)
          print("grouped with " .. image.filename)
        end,
      }
    end,
  },
  print = function(text)
    print("shown " .. text)
  end,
  print_error = function(text)
    print("error " .. text)
  end,
}
package.preload["darktable"] = function()
  return darktable
end
local psal = dofile(script)

for _, format in ipairs({ { "tiff", 8 }, { "png", 16 } }) do -- with 8 bits, as darktable asks at its first start
  local taken = storage.supported(nil, { plugin_name = format[1], bpp = format[2] })
  print("supported " .. format[1] .. " " .. tostring(taken))
end
local exported = {}
for number = 4, #arg, 2 do
  local image = { path = folder, filename = arg[number] }
  local format = { plugin_name = "tiff", bpp = arg[number]:find("layered") and 8 or 16 }
  storage.store(nil, image, format, arg[number + 1], number / 2 - 1, (#arg - 3) / 2)
  exported[image] = arg[number + 1]
end
storage.finalize(nil, exported)
psal.destroy()
