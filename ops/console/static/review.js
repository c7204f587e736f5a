// A key for each button that shows one. A picture is labelled once it can be seen, and once: not by a key that is held
// down, and not by a second press while the first one is on its way.

const picture = document.getElementById("picture");
const isSeen = () => picture?.complete && picture.naturalWidth > 0;
let isSent = false;

const explain = async () => {
  const response = await fetch(picture.src);
  if (!response.ok) document.getElementById("unseen").textContent = await response.text();
};
if (picture?.complete && !isSeen()) explain();
picture?.addEventListener("error", explain);

// What was taken in the dark can be labelled only if it can be seen; the choice holds for this window
const brighten = document.getElementById("brighten");
const show = () => {
  const isBright = sessionStorage.getItem("bright") === "1";
  picture.classList.toggle("bright", isBright);
  brighten.setAttribute("aria-pressed", String(isBright));
};
if (brighten) {
  brighten.addEventListener("click", () => {
    sessionStorage.setItem("bright", sessionStorage.getItem("bright") === "1" ? "0" : "1");
    show();
  });
  show();
}

document.addEventListener("submit", (event) => {
  if (isSent) event.preventDefault();
  isSent = true;
});
addEventListener("pageshow", () => { isSent = false; }); // a page that the browser kept is shown again

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isSent) return;
  const element = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!element || (element.hasAttribute("data-needs-picture") && !isSeen())) return;
  event.preventDefault();
  element.click();
});
