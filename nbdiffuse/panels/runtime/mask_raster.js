// What painting does to a mask's pixels: a byte each, 0 is kept and 255 redrawn. Edges are hard: nothing is half painted.
const HALF = 128;
// Bytes of pixels that undo may hold.
const HELD = 128_000_000;

class MaskRaster {
  constructor(width, height, bytes) {
    Object.assign(this, { width, height, bytes, done: [], undone: [], before: null, dirty: null });
  }

  // An action begins: what is painted until `end` is undone as one.
  begin() {
    this.before = this.bytes.slice();
    this.dirty = null;
  }

  // Returns whether the action changed anything.
  end() {
    const { before, dirty } = this;
    this.before = this.dirty = null;
    if (!before || !dirty) return false;
    const action = { ...dirty, before: this.crop(before, dirty), after: this.crop(this.bytes, dirty) };
    if (action.before.every((value, index) => value === action.after[index])) return false;
    this.done.push(action);
    this.undone = [];
    let held = 0;
    const first = this.done.findLastIndex((one) => (held += 2 * one.before.length) > HELD);
    this.done.splice(0, Math.min(first + 1, this.done.length - 1));
    return true;
  }

  // Takes back what was painted since `begin`; returns the rectangle that changed.
  cancel() {
    const { before, dirty } = this;
    if (before) this.bytes.set(before);
    this.before = this.dirty = null;
    return dirty;
  }

  undo() {
    return this.move(this.done, this.undone, "before");
  }

  redo() {
    return this.move(this.undone, this.done, "after");
  }

  move(from, to, side) {
    const action = from.pop();
    if (!action) return null;
    to.push(action);
    for (let row = 0; row < action.height; row++) {
      const line = action[side].subarray(row * action.width, (row + 1) * action.width);
      this.bytes.set(line, (action.y + row) * this.width + action.x);
    }
    return action;
  }

  crop(bytes, { x, y, width, height }) {
    const made = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.width + x;
      made.set(bytes.subarray(start, start + width), row * width);
    }
    return made;
  }

  touch(x, y, width, height) {
    const old = this.dirty;
    if (!old) this.dirty = { x, y, width, height };
    else {
      const left = Math.min(x, old.x), top = Math.min(y, old.y);
      const right = Math.max(x + width, old.x + old.width), bottom = Math.max(y + height, old.y + old.height);
      this.dirty = { x: left, y: top, width: right - left, height: bottom - top };
    }
    return { x, y, width, height };
  }

  // Paints with a round brush from one point to another; returns the rectangle that changed, or null.
  stroke(from, to, size, value) {
    // A thin brush goes over the middle of pixels, so that one pixel is one pixel.
    const [a, b] = size < 4 ? [from, to].map(({ x, y }) => ({ x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5 })) : [from, to];
    const radius = size / 2, dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    const left = Math.max(0, Math.floor(Math.min(a.x, b.x) - radius)), right = Math.min(this.width, Math.ceil(Math.max(a.x, b.x) + radius));
    const top = Math.max(0, Math.floor(Math.min(a.y, b.y) - radius)), bottom = Math.min(this.height, Math.ceil(Math.max(a.y, b.y) + radius));
    if (left >= right || top >= bottom) return null;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const px = x + 0.5 - a.x, py = y + 0.5 - a.y;
        const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
        const ox = px - along * dx, oy = py - along * dy;
        if (ox * ox + oy * oy <= radius * radius) this.bytes[y * this.width + x] = value;
      }
    }
    return this.touch(left, top, right - left, bottom - top);
  }

  // Turns the area around a point that is alike: what is not painted is, and what is painted is not.
  fill(point) {
    const { width, height, bytes } = this;
    const x = Math.floor(point.x), y = Math.floor(point.y);
    if (x < 0 || y < 0 || x >= width || y >= height) return null;
    const painted = bytes[y * width + x] >= HALF, value = painted ? 0 : 255;
    const alike = (index) => bytes[index] >= HALF === painted && bytes[index] !== value;
    const waiting = [y * width + x];
    while (waiting.length) {
      const index = waiting.pop();
      if (!alike(index)) continue;
      const row = index - (index % width);
      let left = index, right = index;
      while (left > row && alike(left - 1)) left--;
      while (right < row + width - 1 && alike(right + 1)) right++;
      bytes.fill(value, left, right + 1);
      for (const next of [-width, width]) {
        if (left + next < 0 || left + next >= bytes.length) continue;
        for (let at = left; at <= right; at++) {
          if (alike(at + next) && (at === left || !alike(at + next - 1))) waiting.push(at + next);
        }
      }
    }
    return this.touch(0, 0, width, height);
  }

  invert() {
    for (let index = 0; index < this.bytes.length; index++) this.bytes[index] = 255 - this.bytes[index];
    return this.touch(0, 0, this.width, this.height);
  }

  clear() {
    this.bytes.fill(0);
    return this.touch(0, 0, this.width, this.height);
  }

  // The part of the picture that is redrawn, in [0, 1].
  share() {
    let sum = 0;
    for (const value of this.bytes) sum += value;
    return sum / 255 / this.bytes.length;
  }

  // Shows a rectangle on a canvas: the mask's value is how opaque its colour is.
  draw(context, { x, y, width, height }) {
    const data = new ImageData(width, height), pixels = data.data;
    for (let row = 0, at = 0; row < height; row++) {
      for (let index = (y + row) * this.width + x, end = index + width; index < end; index++, at += 4) {
        pixels[at] = 255;
        pixels[at + 1] = 32;
        pixels[at + 2] = 128;
        pixels[at + 3] = this.bytes[index];
      }
    }
    context.putImageData(data, x, y);
  }
}
