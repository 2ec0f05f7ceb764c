// The controls of a mask that is painted, and how the picture below it is shown: how large, and which part.
const ICONS = {
  brush: "M14 2 7 9l-1 1 2 2 1-1 7-7zM5 11c-2 0-3 1-3 3 0 1-1 2-1 2h4c2 0 3-1 3-3z",
  eraser: "M10 3 2 11l4 4h3l7-7zM6 15h10v1.5H6z",
  line: "M3 14 14 3l1.4 1.4L4.4 15.4z",
  fill: "M7 2 6 3l2 2-6 6 5 5 7-7zM15 11s-2 2.5-2 3.8a2 2 0 0 0 4 0C17 13.500 15 11 15 11z",
  undo: "M7 3 2 8l5 5V10c4 0 6 1 8 4 0-5-3-8-8-8z",
  redo: "M10 3l5 5-5 5V10c-4 0-6 1-8 4 0-5 3-8 8-8z",
  invert: "M9 2a7 7 0 1 0 0 14zM9 2v1.500a5.500 5.500 0 0 1 0 11V16A7 7 0 0 0 9 2z",
  clear: "M4 5h10l-1 11H5zM7 2h4v1h4v1.200H3V3h4z",
  smaller: "M3 8h12v2H3z",
  larger: "M8 3h2v5h5v2h-5v5H8v-5H3V8h5z",
  fit: "M2 2h5v2H4v3H2zM11 2h5v5h-2V4h-3zM2 11h2v3h3v2H2zM14 11h2v5h-5v-2h3z",
};
const TOOLS = {
  brush: "Brush: paint what is redrawn; with Shift, a straight line from the last point (B)",
  eraser: "Eraser: take paint away (E)",
  line: "Straight line (L)",
  fill: "Fill: paint an enclosed area, or take its paint away (F)",
};
const ACTIONS = {
  undo: "Undo (Ctrl+Z)",
  redo: "Redo (Ctrl+Shift+Z)",
  invert: "Invert: redraw what is not painted (I)",
  clear: "Clear: paint nothing (Delete)",
};
const VIEWS = { smaller: "Zoom out (−)", fit: "Whole picture (0)", larger: "Zoom in (+), or Ctrl and the wheel" };
const HELP = "Arrows move the brush, Shift and an arrow paints, Space paints one dot. B, E, L and F choose the tool, [ and ] its size.";

const made = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const clamped = (value, low, high) => Math.max(low, Math.min(high, value));

function button(name, title, press) {
  const element = made("button", { type: "button", title, className: `nbd-mask-${name}` });
  element.setAttribute("aria-label", title.split(/[:(]/)[0].trim());
  element.innerHTML = `<svg viewBox="0 0 18 18" width="18" height="18" aria-hidden="true"><path fill="currentColor" d="${ICONS[name]}"/></svg>`;
  element.addEventListener("click", press);
  return element;
}

function slider(label, unit, low, high, value, change) {
  const range = made("input", { type: "range", min: low, max: high, step: 1 });
  const output = made("output", {});
  range.setAttribute("aria-label", label);
  const show = (now) => {
    range.value = now;
    output.textContent = `${now} ${unit}`;
  };
  range.addEventListener("input", () => {
    output.textContent = `${range.value} ${unit}`;
    change(Number(range.value));
  });
  range.addEventListener("keydown", (event) => event.stopPropagation());
  show(value);
  return { element: made("label", {}, made("span", { textContent: label }), range, output), show, range };
}

class MaskView {
  build(el) {
    const group = (names, press) => made("span", { className: "nbd-mask-group" }, ...Object.entries(names).map(([name, title]) => button(name, title, () => press(name))));
    const bar = made("div", { className: "nbd-mask-bar" }, group(TOOLS, (name) => this.choose(name)), group(ACTIONS, (name) => this.act(name)), group(VIEWS, (name) => this.view(name)));
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", "Mask painting");
    this.sizes = slider("Size", "px", 1, 256, this.size, (size) => this.resize(size, true));
    this.sizes.range.addEventListener("change", () => this.place(null));
    this.opacity = slider("Opacity", "%", 10, 100, 60, (percent) => (this.canvas.style.opacity = percent / 100));
    const settings = made("div", { className: "nbd-mask-settings" }, this.sizes.element, this.opacity.element);
    this.picture = made("img", { alt: "", draggable: false });
    this.canvas = made("canvas", {});
    this.canvas.style.opacity = 0.6;
    this.ring = made("div", { className: "nbd-mask-ring", hidden: true });
    this.band = made("div", { className: "nbd-mask-band", hidden: true });
    // Keys go to a field of text: a notebook takes no shortcuts of its own from one.
    this.keys = made("input", { className: "nbd-mask-keys", type: "text", inputMode: "none", autocomplete: "off" });
    this.keys.setAttribute("aria-label", "Mask canvas");
    this.keys.setAttribute("aria-description", HELP);
    this.stage = made("div", { className: "nbd-mask-stage" }, this.keys, this.picture, this.canvas, this.band, this.ring);
    this.frame = made("div", { className: "nbd-mask-frame", tabIndex: -1 }, this.stage);
    this.status = made("div", { className: "nbd-mask-status" });
    this.status.setAttribute("role", "status");
    this.box = made("div", { className: "nbd-mask" }, bar, settings, this.frame, this.status, made("div", { className: "nbd-mask-help", textContent: HELP }));
    el.append(this.box);
    this.button = (name) => bar.querySelector(`.nbd-mask-${name}`);
    this.choose(this.tool);
  }

  // How large the picture is shown, and which part of it.

  view(name) {
    if (name === "fit") this.fit();
    else this.magnify(name === "larger" ? 1.25 : 0.8);
  }

  fit() {
    if (!this.raster || !this.box.clientWidth) return;
    this.fitted = true;
    const room = Math.min(640, this.box.clientWidth - 2);
    this.scale(Math.min(room / this.raster.width, 512 / this.raster.height));
  }

  scale(zoom) {
    this.zoom = zoom;
    this.stage.style.width = `${this.raster.width * zoom}px`;
    this.stage.style.height = `${this.raster.height * zoom}px`;
    this.stage.classList.toggle("nbd-mask-large", zoom > 1.5);
    if (!this.ring.hidden) this.place(this.at);
    this.tell();
  }

  magnify(factor, around) {
    const { frame } = this, edge = frame.getBoundingClientRect();
    const x = around ? around.clientX - edge.left : frame.clientWidth / 2, y = around ? around.clientY - edge.top : frame.clientHeight / 2;
    const [left, top, old] = [frame.scrollLeft + x, frame.scrollTop + y, this.zoom];
    this.fitted = false;
    this.scale(clamped(old * factor, 32 / Math.max(this.raster.width, this.raster.height), 32));
    frame.scrollLeft = (left * this.zoom) / old - x;
    frame.scrollTop = (top * this.zoom) / old - y;
  }

  place(at) {
    this.at = at ?? this.at;
    this.ring.hidden = !at;
    if (!at) return;
    const side = this.tool === "fill" ? 9 : Math.max(3, this.size * this.zoom);
    Object.assign(this.ring.style, { width: `${side}px`, height: `${side}px`, left: `${at.x * this.zoom - side / 2}px`, top: `${at.y * this.zoom - side / 2}px` });
  }

  middle() {
    return { x: this.raster.width / 2, y: this.raster.height / 2 };
  }

  point(event) {
    const edge = this.stage.getBoundingClientRect();
    return { x: (event.clientX - edge.left) / this.zoom, y: (event.clientY - edge.top) / this.zoom };
  }

  stretch(from, to) {
    const wide = Math.max(2, this.size * this.zoom), length = Math.hypot(to.x - from.x, to.y - from.y) * this.zoom;
    const turn = Math.atan2(to.y - from.y, to.x - from.x);
    Object.assign(this.band.style, { height: `${wide}px`, width: `${length + wide}px`, left: `${from.x * this.zoom - wide / 2}px`, top: `${from.y * this.zoom - wide / 2}px` });
    Object.assign(this.band.style, { transformOrigin: `${wide / 2}px 50%`, transform: `rotate(${turn}rad)` });
    this.band.hidden = false;
  }

  pinch(event) {
    const other = [...this.touches.values()].find((one) => one.pointerId !== event.pointerId), old = this.touches.get(event.pointerId);
    this.touches.set(event.pointerId, event);
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    this.magnify(apart(event) / Math.max(1, apart(old)), other);
    this.frame.scrollLeft -= (event.clientX - old.clientX) / 2;
    this.frame.scrollTop -= (event.clientY - old.clientY) / 2;
  }

  // Keeps the brush in sight.
  reveal(at) {
    const { frame } = this, x = at.x * this.zoom, y = at.y * this.zoom;
    frame.scrollLeft = clamped(frame.scrollLeft, x - frame.clientWidth + 20, Math.max(0, x - 20));
    frame.scrollTop = clamped(frame.scrollTop, y - frame.clientHeight + 20, Math.max(0, y - 20));
  }
}
