// What ipywidgets leaves out for keys and screen readers: names and values of sliders, fields that are wrong, Run and Stop.
let errors_named = 0;

function put(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function name_sliders(panel) {
  for (const number of panel.querySelectorAll(".nbd-number")) {
    const knob = number.querySelector("[role=slider]");
    const name = number.querySelector(".widget-label")?.textContent.trim();
    if (!knob || !name) continue;
    put(knob, "aria-label", `${name} slider`);
    // The knob of the strength counts steps: what it stands for is in the box and in the line below.
    const hint = number.querySelector(".nbd-note")?.textContent;
    const value = number.querySelector("input")?.value;
    if (hint) put(knob, "aria-valuetext", `${value}, ${hint}`);
  }
}

function mark_what_is_wrong(panel) {
  for (const box of panel.querySelectorAll("[aria-invalid]")) {
    if (box.closest(".nbd-invalid")) continue;
    box.removeAttribute("aria-invalid");
    box.removeAttribute("aria-describedby");
  }
  for (const field of panel.querySelectorAll(".nbd-invalid")) {
    const line = field.nextElementSibling?.querySelector(".nbd-field-error");
    if (line && !line.id) line.id = `nbd-error-${++errors_named}`;
    for (const box of field.querySelectorAll("input, textarea, select")) {
      put(box, "aria-invalid", "true");
      if (line) put(box, "aria-describedby", line.id);
    }
  }
}

function name_bars(panel) {
  for (const bar of panel.querySelectorAll("[role=progressbar], .progress")) put(bar, "aria-label", "progress");
}

// Ctrl+Enter runs and Esc stops, wherever the focus is in the panel; a notebook would run the cell instead.
function on_key(panel, event) {
  const press = (name) => {
    const button = panel.querySelector(name);
    if (!button || button.disabled) return;
    event.preventDefault();
    event.stopPropagation();
    // What was typed counts, also where a box sends it only when it is left.
    const box = document.activeElement;
    box?.blur();
    box?.focus({ preventScroll: true });
    // A kernel may take two messages that come at once in either order; a hand leaves this much time between them, too.
    setTimeout(() => button.click(), 150);
  };
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    event.stopPropagation();
    press(".nbd-run-button");
  } else if (event.key === "Escape") press(".nbd-stop-button");
}

function make_accessible(panel) {
  const all = () => {
    name_sliders(panel);
    mark_what_is_wrong(panel);
    name_bars(panel);
  };
  const key = (event) => on_key(panel, event);
  const observer = new MutationObserver(all);
  const attributeFilter = ["class", "aria-valuetext"];
  observer.observe(panel, { childList: true, subtree: true, attributes: true, attributeFilter });
  panel.addEventListener("keydown", key, true);
  all();
  return () => {
    observer.disconnect();
    panel.removeEventListener("keydown", key, true);
  };
}

