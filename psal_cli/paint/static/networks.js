// The networks in the user's model folder, as entries of select lists. They are loaded when a list is first opened.

import { ask } from "./api.js";
import { complain, element, find } from "./parts.js";

const LISTS = { painter: "inpainting", upscaler: "super-resolution" };

export function offerNetworks() {
  let asked = null;
  const offer = async () => {
    if (asked) return;
    const looking = Object.keys(LISTS).map((id) => {
      const option = element("option", { disabled: true, textContent: "Looking for yours …" });
      find(id).append(option);
      return option;
    });
    asked = ask("/api/networks").then(({ networks }) => fill(networks));
    try {
      await asked;
    } catch (error) {
      asked = null;
      complain(error);
    } finally {
      looking.forEach((option) => option.remove());
    }
  };
  for (const id of ["advanced", "enlarge-advanced"]) find(id).addEventListener("toggle", () => find(id).open && offer());
}

function fill(networks) {
  for (const [id, task] of Object.entries(LISTS)) {
    const own = networks.filter((network) => network.task === task && !network.problem);
    const options = own.map(({ name, scale }) => {
      const option = element("option", { value: name, textContent: scale ? `${name} (${scale} times)` : name });
      Object.assign(option.dataset, { own: "yes", scale: scale ?? "" });
      return option;
    });
    if (options.length) find(id).append(element("optgroup", { label: "Yours" }, ...options));
  }
}

// The name of the user's network chosen in a list, undefined if a built-in one is chosen.
export function ownNetwork(id) {
  const option = find(id).selectedOptions[0];
  return option?.dataset.own ? option.value : undefined;
}
