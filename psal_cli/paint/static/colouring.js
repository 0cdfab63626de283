// The options of Colour it, read from the panel.

import { find } from "./parts.js";

// The entries of the method list, as options of psal_cli/verbs/colorize/options.py. All others are layers of the paper's network.
const OWN = { texture: { engine: "psal", features: "local" }, semantic: { engine: "psal", features: "semantic" } };

export function wireColouring() {
  const update = () => {
    find("colour-rounds").disabled = find("colour-method").value in OWN;
    find("guess").disabled = !find("colour-rounds").disabled;
  };
  find("colour-method").addEventListener("change", update);
  find("strength").addEventListener("input", () => { find("strength-text").textContent = `${find("strength").value} %`; });
  update();
}

// Whether colours are guessed without a dropped picture.
export function guesses() {
  return find("guess").checked && !find("guess").disabled && !find("guess-row").hidden;
}

export function colouring() {
  const method = find("colour-method").value;
  const rounds = Math.round(Number(find("colour-rounds").value)) || null;
  return {
    ...(OWN[method] ?? { engine: "paper", attention: method, iterations: rounds }),
    auto: guesses(),
    strength: Number(find("strength").value) / 100,
    seed: Math.round(Number(find("colour-seed").value)) || 0,
  };
}
