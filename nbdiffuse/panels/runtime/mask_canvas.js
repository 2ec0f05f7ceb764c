// A mask painted over a picture, at the picture's own size. It stands behind mask_raster.js and mask_view.js in one module.
// The mask goes to the kernel and comes from there as its bytes, deflated; in parts, because a Jupyter server
// closes a connection that sends more than 10 MB at once.
const PART = 4_000_000;
const KEYS = { b: "brush", e: "eraser", l: "line", f: "fill", i: "invert", delete: "clear", backspace: "clear", "-": "smaller", "+": "larger" };
Object.assign(KEYS, { "=": "larger", 0: "fit" });
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const through = (bytes, stream) => new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer();

class MaskCanvas extends MaskView {
  constructor(model, el) {
    super();
    Object.assign(this, { model, tool: "brush", size: 24, zoom: 1, fitted: true, touches: new Map(), sent: 0, id: crypto.randomUUID?.() ?? `${Math.random()}` });
    this.build(el);
    this.listen();
    this.load();
  }

  listen() {
    const { stage, frame, keys, model } = this;
    const on = (target, kind, take, options) => target.addEventListener(kind, take, options);
    on(stage, "pointerdown", (event) => this.press(event));
    on(stage, "pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) on(stage, kind, (event) => this.release(event));
    on(stage, "pointerleave", () => this.touches.size || this.place(null));
    on(frame, "wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.magnify(Math.exp(-event.deltaY / 400), event);
    }, { passive: false });
    // Before the notebook, which looks at every key of the page first.
    this.keydown = (event) => this.box.contains(event.target) && this.key(event);
    window.addEventListener("keydown", this.keydown, true);
    on(keys, "input", () => (keys.value = ""));
    on(keys, "focus", () => this.place(this.at ?? this.middle()));
    on(keys, "blur", () => this.place(null));
    this.watcher = new ResizeObserver(() => this.fitted && this.fit());
    this.watcher.observe(this.box);
    this.reload = () => this.load();
    model.on("change:token", this.reload);
  }

  close() {
    window.removeEventListener("keydown", this.keydown, true);
    this.model.off("change:token", this.reload);
    this.watcher.disconnect();
    if (this.url) URL.revokeObjectURL(this.url);
  }

  // Shows the picture and the mask that the kernel has, except for what was painted here.
  async load() {
    const token = this.model.get("token");
    if (token.startsWith(this.id)) return;
    const [width, height] = this.model.get("size"), bytes = this.model.get("mask");
    this.box.hidden = !width;
    if (!width) return;
    const mask = new Uint8Array(await through(bytes, new DecompressionStream("deflate")));
    if (this.model.get("token") !== token) return;
    const same = this.raster?.width === width && this.raster?.height === height;
    this.raster = new MaskRaster(width, height, mask);
    Object.assign(this.canvas, { width, height });
    this.raster.draw(this.canvas.getContext("2d"), { x: 0, y: 0, width, height });
    const old = this.url;
    this.url = this.picture.src = URL.createObjectURL(new Blob([this.model.get("picture")]));
    this.picture.alt = this.model.get("label");
    if (old) URL.revokeObjectURL(old);
    const longest = Math.max(width, height);
    this.sizes.range.max = Math.max(16, Math.round(longest / 2));
    if (!same) {
      this.at = this.last = null;
      this.resize(Math.max(1, Math.round(longest / 16)));
      this.fit();
    }
    this.tell();
  }

  tell() {
    const { raster } = this;
    const percent = (100 * raster.share()).toFixed(1).replace(/\.0$/, "");
    this.status.textContent = `${percent} % is redrawn · ${raster.width} × ${raster.height} · shown at ${Math.round(this.zoom * 100)} %`;
    this.button("undo").disabled = !raster.done.length;
    this.button("redo").disabled = !raster.undone.length;
  }

  show(area) {
    if (area) this.raster.draw(this.canvas.getContext("2d"), area);
  }

  // What was painted goes to the kernel; of actions that come faster than they are sent, the newest.
  async changed() {
    this.tell();
    this.unsent = true;
    if (this.sending) return;
    this.sending = true;
    while (this.unsent) {
      this.unsent = false;
      const { width, height } = this.raster;
      const bytes = await through(this.raster.bytes.slice(), new CompressionStream("deflate"));
      const token = `${this.id} ${++this.sent}`, parts = Math.ceil(bytes.byteLength / PART);
      for (let part = 0; part < parts; part++) {
        this.model.send({ kind: "mask", token, size: [width, height], part, parts }, undefined, [bytes.slice(part * PART, (part + 1) * PART)]);
      }
    }
    this.sending = false;
  }

  choose(tool) {
    this.tool = tool;
    this.last = tool === "line" ? null : this.last;
    for (const name of Object.keys(TOOLS)) this.button(name).setAttribute("aria-pressed", name === tool);
    if (!this.ring.hidden) this.place(this.at);
  }

  resize(size, shown) {
    this.size = clamped(Math.round(size), 1, Number(this.sizes.range.max));
    this.sizes.show(this.size);
    if (shown && this.raster) this.place(this.at ?? this.middle());
  }

  act(name) {
    if (!this.raster || this.drawing) return;
    if (name === "undo" || name === "redo") {
      const area = this.raster[name]();
      this.show(area);
      if (area) this.changed();
      return;
    }
    this.raster.begin();
    this.show(this.raster[name]());
    if (this.raster.end()) this.changed();
  }

  // Painting: begin, go on, end; by pointer and by keyboard alike.

  paint(from, to) {
    this.show(this.raster.stroke(from, to, this.size, this.tool === "eraser" ? 0 : 255));
    this.last = to;
  }

  begin(at, straight) {
    this.raster.begin();
    this.drawing = at;
    if (this.tool === "fill") this.show(this.raster.fill(at));
    else if (this.tool !== "line") this.paint(straight && this.last ? this.last : at, at);
  }

  go(at) {
    if (this.tool === "line") this.stretch(this.drawing, at);
    else if (this.tool !== "fill") {
      this.paint(this.drawing, at);
      this.drawing = at;
    }
  }

  end(at) {
    if (this.tool === "line") this.paint(this.drawing, at);
    this.drawing = null;
    this.band.hidden = true;
    if (this.raster.end()) this.changed();
  }

  giveUp() {
    this.show(this.raster.cancel());
    this.drawing = null;
    this.band.hidden = true;
  }

  press(event) {
    if (!this.raster || event.button > 0) return;
    event.preventDefault();
    this.keys.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.touches.set(event.pointerId, event);
    // A second finger moves the picture; what the first one painted meanwhile was not meant.
    if (this.touches.size > 1) {
      if (this.drawing) this.giveUp();
      return;
    }
    const at = this.point(event);
    this.place(at);
    this.begin(at, event.shiftKey);
  }

  drag(event) {
    if (!this.raster) return;
    if (this.touches.size > 1 && this.touches.has(event.pointerId)) {
      this.pinch(event);
      return;
    }
    this.place(this.point(event));
    if (!this.drawing || !this.touches.has(event.pointerId)) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const one of passed.length ? passed : [event]) this.go(this.point(one));
  }

  release(event) {
    if (!this.touches.delete(event.pointerId) || !this.drawing) return;
    if (event.type === "pointercancel") this.giveUp();
    else this.end(this.point(event));
  }

  key(event) {
    if (!this.raster) return undefined;
    const name = event.key.toLowerCase(), held = event.ctrlKey || event.metaKey;
    // Sliders and buttons have keys of their own, which Notebook 7 would take from them.
    const own = event.target.type === "range" ? !held : event.target !== this.keys && (name === " " || name === "enter");
    if (own && name !== "tab") return event.stopImmediatePropagation();
    if (held || event.altKey ? !held || !"zy".includes(name) : name === "tab") return undefined;
    const known = this.command(name, event);
    if (known) event.preventDefault();
    // No letter is the notebook's while a person paints.
    return known || name.length === 1 ? event.stopImmediatePropagation() : undefined;
  }

  command(name, event) {
    const { size } = this;
    if (event.ctrlKey || event.metaKey) this.act(name === "y" || event.shiftKey ? "redo" : "undo");
    else if (event.key in ARROWS) this.step(ARROWS[event.key], event.shiftKey);
    else if (name === " ") this.dot();
    else if (name === "escape" && this.drawing) this.giveUp();
    else if (name === "[") this.resize(Math.min(size - 1, size / 1.2), true);
    else if (name === "]") this.resize(Math.max(size + 1, size * 1.2), true);
    else if (KEYS[name] in TOOLS) this.choose(KEYS[name]);
    else if (KEYS[name] in ACTIONS) this.act(KEYS[name]);
    else if (KEYS[name] in VIEWS) this.view(KEYS[name]);
    else return false;
    return true;
  }

  step([x, y], paints) {
    const from = this.at ?? this.middle(), far = Math.max(1, Math.round(this.size / 4));
    const to = { x: clamped(from.x + x * far, 0, this.raster.width), y: clamped(from.y + y * far, 0, this.raster.height) };
    // A line that was begun is drawn from there; all else is painted at once.
    if (this.drawing) this.go(to);
    else if (paints && (this.tool === "brush" || this.tool === "eraser")) {
      this.begin(from);
      this.go(to);
      this.end(to);
    }
    this.place(to);
    this.reveal(to);
  }

  dot() {
    const at = this.at ?? this.middle();
    if (this.drawing) this.end(at);
    else {
      this.begin(at);
      if (this.tool !== "line") this.end(at);
    }
  }
}

function render({ model, el }) {
  const canvas = new MaskCanvas(model, el);
  return () => canvas.close();
}

export default { render };
