// The options of Remove, read from the panel.

import { ownNetwork } from "./networks.js";
import { find } from "./parts.js";

const whole = (id) => Math.round(Number(find(id).value)) || 0;

export function wireOptions() {
  const update = () => { find("painter").disabled = find("engine").value === "patch"; };
  find("engine").addEventListener("change", update);
  update();
}

// The names are those of psal_cli/verbs/inpaint/recorded.py.
export function options() {
  const engine = find("engine").value;
  const painter = engine === "patch" ? undefined : ownNetwork("painter");
  return {
    engine,
    attention: engine === "patch" || painter ? "psal" : find("painter").value,
    ...(painter && { painter }),
    results: whole("results"),
    feather: whole("feather"),
    patch_size: whole("patch"),
    iterations: whole("rounds") || null,
    blend: find("blend").checked,
    seed: whole("seed"),
  };
}
