// What a panel does outside of itself: put a cell into the notebook, hand over a file.
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function insert(el, text) {
  const cell = el.closest(".jp-Notebook .jp-Cell");
  if (!cell) return false;
  const notebook = cell.closest(".jp-Notebook");
  const cells = () => [...notebook.querySelectorAll(".jp-Cell")];
  const before = new Set(cells());
  // As a person would: choose the cell that holds the panel, press B for a cell below, and paste.
  // (The notebook's own commands ask for a confirmation when a page calls them.)
  const mouse = { bubbles: true, cancelable: true, button: 0 };
  const prompt = cell.querySelector(".jp-InputPrompt, .jp-InputArea-prompt");
  for (const kind of ["mousedown", "mouseup"]) prompt?.dispatchEvent(new MouseEvent(kind, mouse));
  cell.focus();
  await pause(50);
  const key = { key: "b", code: "KeyB", keyCode: 66, which: 66, bubbles: true, cancelable: true };
  (notebook.contains(document.activeElement) ? document.activeElement : cell).dispatchEvent(new KeyboardEvent("keydown", key));
  const made = () => cells().find((one) => !before.has(one))?.querySelector(".cm-content");
  for (let turn = 0; turn < 80 && !made(); turn++) await pause(25);
  if (!made()) return false;
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  made().focus();
  made().dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  await pause(50);
  return true;
}

function hand_over(name, bytes) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function render({ model, el }) {
  el.style.display = "none";
  const on_message = async (message, buffers) => {
    // A panel that is shown twice acts once.
    if (!el.isConnected || (message.kind !== "name" && message.token === window.nbdiffuseToken)) return;
    window.nbdiffuseToken = message.token;
    if (message.kind === "download") hand_over(message.name, buffers[0]);
    if (message.kind === "cell") model.send({ kind: "inserted", done: await insert(el, message.text), text: message.text });
  };
  model.on("msg:custom", on_message);
  let leave = () => {};
  setTimeout(() => {
    const panel = el.closest(".nbdiffuse-panel");
    if (panel) leave = make_accessible(panel);
  });
  return () => {
    model.off("msg:custom", on_message);
    leave();
  };
}

export default { render };
