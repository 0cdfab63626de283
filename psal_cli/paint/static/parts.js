// Small things that all of the page uses.

export const find = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A dialog, shown until it is left; returns the value of the button.
export function shown(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

let timer;

// A line at the foot of the picture. seconds: how long, 0 until the next one.
export function say(text, { bad = false, seconds = 5 } = {}) {
  const line = find("message");
  clearTimeout(timer);
  line.textContent = text;
  line.classList.toggle("bad", bad);
  line.hidden = !text;
  if (text && seconds) timer = setTimeout(() => { line.hidden = true; }, 1000 * seconds);
}

export const complain = (error) => say(error.message.charAt(0).toUpperCase() + error.message.slice(1), { bad: true, seconds: 10 });

export function duration(seconds) {
  if (seconds < 1) return "a moment";
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}
