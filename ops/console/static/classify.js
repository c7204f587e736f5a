// Uploads what is dropped or chosen, one file after the other, and asks for outcomes while some are still to come

import { refresh, say, show } from "./refresh.js";

const drop = document.getElementById("drop");
const files = document.getElementById("files");
const progress = document.getElementById("progress");
const summary = document.getElementById("summary");
const uploads = document.getElementById("uploads");
const token = document.querySelector("meta[name=form-token]").content;
const maxBytes = Number(files.dataset.maxBytes);

const upload = async (file) => {
  if (file.size > maxBytes) return `${file.name} is not uploaded: it has ${file.size} bytes, at most ${maxBytes} are taken.`;
  const headers = { "X-Form-Token": token, "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
  const response = await fetch("/classify/upload", { method: "POST", headers, body: file });
  const text = await response.text();
  if (!response.ok) return `${file.name} is not uploaded: ${text}`;
  show(uploads, text);
  return "";
};

const uploadAll = async (chosen) => {
  const problems = [];
  for (const [index, file] of [...chosen].entries()) {
    progress.textContent = `Uploading ${index + 1} of ${chosen.length}`;
    problems.push(await upload(file).catch((error) => `${file.name} is not uploaded: ${error.message}`));
  }
  progress.textContent = problems.filter(Boolean).join(" ");
};

files.addEventListener("change", async () => {
  await uploadAll(files.files);
  files.value = "";
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // also beside the field: the browser would leave the page and open the file
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") uploadAll(event.dataTransfer.files);
  });
}

const again = async () => {
  if (!document.hidden && uploads.querySelector("[data-pending]")) await refresh(uploads);
  say(summary, uploads.querySelector("[data-summary]")?.dataset.summary ?? "");
  setTimeout(again, 1000);
};
again();
