// A place for a picture: choose a file, drop one, or paste one. The file's bytes go to the kernel in parts,
// because a Jupyter server closes a connection that sends more than 10 MB at once.
const PART = 4_000_000;

async function send(model, file) {
  const bytes = await file.arrayBuffer();
  const parts = Math.max(1, Math.ceil(bytes.byteLength / PART));
  for (let part = 0; part < parts; part++) {
    const content = { kind: "file", name: file.name || "pasted.png", part, parts };
    model.send(content, undefined, [bytes.slice(part * PART, (part + 1) * PART)]);
  }
}

const picture = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

function render({ model, el }) {
  const field = document.createElement("div");
  field.className = "nbd-image-input";
  field.tabIndex = 0;
  field.setAttribute("role", "button");
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.hidden = true;
  el.append(field, input);
  let url = null;

  function draw() {
    if (url) URL.revokeObjectURL(url);
    const bytes = model.get("thumbnail");
    const title = document.createElement("strong");
    title.textContent = model.get("caption");
    const text = document.createElement("span");
    text.append(title, model.get("hint"));
    url = bytes?.byteLength ? URL.createObjectURL(new Blob([bytes])) : null;
    if (url) {
      const image = document.createElement("img");
      image.src = url;
      image.alt = model.get("caption");
      field.replaceChildren(image, text);
    } else field.replaceChildren(text);
    field.setAttribute("aria-label", `${model.get("label")}: ${model.get("caption")} ${model.get("hint")}`);
  }

  const take = (file) => file && send(model, file);
  const over = (event) => {
    event.preventDefault();
    event.stopPropagation();
    field.classList.toggle("nbd-over", event.type !== "dragleave");
  };
  field.addEventListener("click", () => input.click());
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    input.click();
  });
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave"]) field.addEventListener(kind, over);
  field.addEventListener("drop", (event) => {
    over(event);
    field.classList.remove("nbd-over");
    take(picture(event.dataTransfer));
  });
  const paste = (event) => {
    const file = picture(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    take(file);
  };
  // Pasting works anywhere in the panel for the first image input, and in any that has the focus.
  const root = model.get("everywhere") ? el.closest(".nbdiffuse-panel") ?? el : el;
  root.addEventListener("paste", paste);
  model.on("change:thumbnail change:caption change:hint", draw);
  draw();
  return () => {
    root.removeEventListener("paste", paste);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
