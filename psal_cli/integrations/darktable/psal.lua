--[[
psal in darktable: a target of the export module that removes what a mask marks, and imports the result beside the raw.

Install: copy or link this file into ~/.config/darktable/lua and add  require "psal"  to ~/.config/darktable/luarc.
Needs the command psal. See examples/darktable.md.
]]

local dt = require "darktable"

local NAME = "psal"
local LABEL = "psal: remove what a mask marks"
-- Files beside the picture that say what to remove, the first that is there: what follows its name, and psal's option for it.
local MASKS = {
  { "_mask.png", "--mask" },
  { "_mask.tif", "--mask" },
  { "_mask.tiff", "--mask" },
  { "_strokes.json", "--strokes" },
  { ".json", "--polygon-file" },
}
local WINDOWS = package.config:sub(1, 1) == "\\"

local psal = {}

--- A text as one word of a shell command.
function psal.quoted(text)
  if WINDOWS then
    return '"' .. text:gsub('"', '\\"') .. '"'
  end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Whether a file can be read.
function psal.exists(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

--- The path of a picture without its extension.
function psal.stem(image)
  return image.path .. (WINDOWS and "\\" or "/") .. image.filename:gsub("%.[^.]*$", "")
end

--- The option of psal and the file that say what to remove; nil where there is none.
-- exported: the TIFF file, which may hold a mask as its second page (the export option "store masks").
function psal.mask_of(image, exported)
  for _, each in ipairs(MASKS) do
    local path = psal.stem(image) .. each[1]
    if psal.exists(path) then
      return { each[2], path }
    end
  end
  if psal.pages(exported) > 1 then
    return { "--mask", exported, "--mask-layer", "2" }
  end
  return nil
end

--- How many pages a TIFF file has; 0 for what is no TIFF file.
function psal.pages(path)
  local file = io.open(path, "rb")
  if not file then
    return 0
  end
  local order = ({ II = "<", MM = ">" })[file:read(2) or ""]
  local count = 0
  if order and string.unpack(order .. "I2", file:read(2) or "\0\0") == 42 then
    local place = string.unpack(order .. "I4", file:read(4) or "\0\0\0\0")
    while place ~= 0 and count < 100 and file:seek("set", place) do
      local entries = file:read(2)
      if not entries or #entries < 2 then
        break
      end
      count = count + 1
      file:seek("cur", 12 * string.unpack(order .. "I2", entries))
      local after = file:read(4)
      place = after and #after == 4 and string.unpack(order .. "I4", after) or 0
    end
  end
  file:close()
  return count
end

--- A name beside the picture that no file has yet.
function psal.output_for(image)
  local number = 0
  local path
  repeat
    path = psal.stem(image) .. "_psal" .. (number > 0 and "_" .. number or "") .. ".tif"
    number = number + 1
  until not psal.exists(path)
  return path
end

--- The command line that makes `output` of what was exported.
function psal.command_for(exported, mask, output)
  local words = { psal.quoted(dt.preferences.read(NAME, "command", "string")), "inpaint", psal.quoted(exported) }
  for number, word in ipairs(mask) do
    words[#words + 1] = number % 2 == 1 and word or psal.quoted(word)
  end
  words[#words + 1] = "--dilate " .. math.floor(dt.preferences.read(NAME, "dilate", "integer"))
  words[#words + 1] = "-q -o " .. psal.quoted(output)
  return table.concat(words, " ")
end

--- Runs a command without blocking darktable; true when it succeeded.
function psal.execute(command)
  if dt.control and dt.control.execute then
    return dt.control.execute(command) == 0
  end
  return (os.execute(command)) == true
end

--- Works on one exported picture; returns the imported image, or nil and why not.
function psal.remove(image, exported)
  local mask = psal.mask_of(image, exported)
  if not mask then
    return nil, "there is not a mask: store one in the export, or paint " .. psal.stem(image) .. "_mask.png"
  end
  local output = psal.output_for(image)
  if not psal.execute(psal.command_for(exported, mask, output)) or not psal.exists(output) then
    return nil, "psal failed; darktable started from a terminal shows why"
  end
  local imported = dt.database.import(output)
  if not imported then
    return nil, "darktable did not import " .. output
  end
  imported:group_with(image)
  return imported
end

--- After the last picture was exported: works on all of them.
function psal.finalize(_, exported_by_image)
  local done = 0
  for image, exported in pairs(exported_by_image) do
    local whole, imported, problem = pcall(psal.remove, image, exported)
    if not whole then -- what was raised; the next pictures are worked on all the same
      imported, problem = nil, tostring(imported)
    end
    os.remove(exported)
    if imported then
      done = done + 1
    else
      dt.print_error(image.filename .. ": " .. problem)
      dt.print(image.filename .. ": " .. problem)
    end
  end
  dt.print("psal: " .. done .. " done")
end

--- Which formats the target takes: TIFF. darktable asks once, when the target is registered, whatever the bits are then.
function psal.supported(_, format)
  return format.plugin_name == "tiff"
end

--- Called for each picture that was exported; the work waits for `finalize`.
function psal.store(_, image, format, _, number, total)
  local few = format.bpp < 16 and " (8 bits: choose 16 in the export module to keep all)" or ""
  dt.print("psal: " .. image.filename .. ", " .. math.floor(number) .. " of " .. math.floor(total) .. few)
end

dt.preferences.register(NAME, "command", "string", "psal: command", "The command psal, or its path", "psal")
dt.preferences.register(
  NAME, "dilate", "integer", "psal: grow the mask by", "Pixels by which masks are grown before they are filled", 8, 0, 1000
)
dt.register_storage(NAME, LABEL, psal.store, psal.finalize, psal.supported)

--- What darktable's script manager calls to take the script away.
function psal.destroy()
  dt.destroy_storage(NAME)
end

psal.metadata = { name = NAME, purpose = "remove what a mask marks", author = "the authors of psal" }
return psal
