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

// A picture that is dragged out of a page comes as an address, and only some servers give it to another page.
async function from_page(transfer) {
  const found = new DOMParser().parseFromString(transfer.getData("text/html"), "text/html").querySelector("img")?.src;
  const address = found || transfer.getData("text/uri-list").split("\n").find((line) => line && !line.startsWith("#"));
  if (!address) return null;
  const answer = await fetch(address);
  const content = await answer.blob();
  if (!answer.ok || !content.type.startsWith("image/")) return null;
  return new File([content], address.split(/[?#]/)[0].split("/").pop() || "picture", { type: content.type });
}

// What was dropped as a file, or a line that says why nothing was.
async function dropped(transfer) {
  const entry = transfer.items?.[0]?.webkitGetAsEntry?.();
  if (entry?.isDirectory) return `${entry.name} is a folder: %%img2img ${entry.name}/ redraws every picture in it.`;
  // A file without a type may be a picture all the same: the kernel looks at its content.
  const file = picture(transfer) ?? [...transfer.files].find((one) => !one.type);
  if (file) return file;
  if (transfer.files.length) return `${transfer.files[0].name} is no picture (${transfer.files[0].type}).`;
  const refused = "That page does not give its picture away: save it as a file, and drop the file.";
  return (await from_page(transfer).catch(() => null)) ?? refused;
}

function render({ model, el }) {
  const field = document.createElement("div");
  field.className = "nbd-image-input";
  field.tabIndex = 0;
  field.setAttribute("role", "button");
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.hidden = true;
  input.setAttribute("aria-label", model.get("label"));
  const said = document.createElement("div");
  said.className = "nbd-said";
  said.setAttribute("role", "status");
  el.append(field, input, said);
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

  const take = (file) => {
    said.textContent = typeof file === "string" ? file : "";
    if (file && typeof file !== "string") send(model, file);
  };
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
    dropped(event.dataTransfer).then(take);
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
