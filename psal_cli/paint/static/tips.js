// Tooltips with keys, for all that has data-tip.

const DELAY = 450;

export function addTips() {
  const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
  document.body.append(tip);
  let timer;
  const hide = () => {
    clearTimeout(timer);
    tip.hidden = true;
  };
  const show = (element) => {
    tip.textContent = element.dataset.tip;
    for (const key of keysOf(element)) tip.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    tip.hidden = false;
    const [at, own] = [element.getBoundingClientRect(), tip.getBoundingClientRect()];
    const beside = element.closest("nav");
    const left = beside ? at.right + 8 : at.left + at.width / 2 - own.width / 2;
    const below = at.bottom + 8 + own.height < innerHeight;
    const top = beside ? at.top + at.height / 2 - own.height / 2 : below ? at.bottom + 8 : at.top - own.height - 8;
    tip.style.left = `${Math.max(Math.min(left, innerWidth - own.width - 6), 6)}px`;
    tip.style.top = `${Math.max(top, 6)}px`;
  };
  document.addEventListener("pointerover", (event) => {
    const element = event.target.closest?.("[data-tip]");
    hide();
    if (element && event.pointerType !== "touch") timer = setTimeout(() => show(element), DELAY);
  });
  for (const name of ["pointerdown", "keydown", "wheel"]) document.addEventListener(name, hide, { capture: true, passive: true });
  for (const element of document.querySelectorAll("[data-tip]")) {
    if (!element.textContent.trim()) element.setAttribute("aria-label", element.dataset.tip);
    element.setAttribute("aria-keyshortcuts", keysOf(element).join(" "));
  }
}

export function keysOf(element) {
  return element.dataset.key ? element.dataset.key.split("; ") : [];
}
