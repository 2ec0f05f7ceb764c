// Before and after in one frame: a slider moves the edge between them, without the kernel.
function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "nbd-compare";
  el.append(box);
  let urls = {};
  let parts = null;

  function picture(name, label) {
    const bytes = model.get(name);
    const old = urls[name];
    delete urls[name];
    // A picture that is shown must not vanish before the next one is there.
    if (old) setTimeout(() => URL.revokeObjectURL(old), 1000);
    if (!bytes?.byteLength) return null;
    urls[name] = URL.createObjectURL(new Blob([bytes]));
    const image = parts?.[name] ?? document.createElement("img");
    image.src = urls[name];
    image.alt = label;
    return image;
  }

  const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

  function build(before, after) {
    const frame = element("div", { className: "nbd-frame" });
    const names = element("div", { className: "nbd-names" });
    names.append(element("span", {}), element("span", {}));
    parts = { before, after, names };
    if (!before || !after) {
      frame.append(before ?? after ?? element("div", { className: "nbd-empty" }));
      box.replaceChildren(frame, names);
      return;
    }
    before.className = "nbd-before";
    const line = element("div", { className: "nbd-line" });
    const range = element("input", { type: "range", min: 0, max: 100, value: model.get("position") });
    range.setAttribute("aria-label", "Compare before and after");
    const move = () => {
      before.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
      line.style.left = `${range.value}%`;
      range.style.height = `${frame.clientHeight}px`;
    };
    range.addEventListener("input", move);
    // The notebook's own shortcuts must not take the arrows.
    range.addEventListener("keydown", (event) => event.stopPropagation());
    new ResizeObserver(move).observe(frame);
    frame.append(after, before, line);
    box.replaceChildren(range, frame, names);
    move();
  }

  function draw() {
    const before = picture("before", model.get("before_label"));
    const after = picture("after", model.get("after_label"));
    // While a run goes on only the pictures change, so that the slider can be held.
    if (!parts || parts.before !== before || parts.after !== after) {
      parts = null;
      build(before, after);
    }
    const [first, second] = parts.names.children;
    first.textContent = before && after ? model.get("before_label") : "";
    second.textContent = before && !after ? model.get("before_label") : model.get("after_label");
    const empty = box.querySelector(".nbd-empty");
    if (empty) {
      empty.textContent = model.get("after_label");
      second.textContent = "";
    }
  }

  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      draw();
    });
  };
  model.on("change:before change:after change:before_label change:after_label", later);
  draw();
  return () => Object.values(urls).forEach((url) => URL.revokeObjectURL(url));
}

export default { render };
