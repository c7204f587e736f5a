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

// A button that is pressed or not; the choice holds for this window
const choice = (id, apply) => {
  const button = document.getElementById(id);
  const show = () => {
    const isOn = sessionStorage.getItem(id) === "1";
    button.setAttribute("aria-pressed", String(isOn));
    apply(isOn);
  };
  button.addEventListener("click", () => {
    sessionStorage.setItem(id, sessionStorage.getItem(id) === "1" ? "0" : "1");
    show();
  });
  show();
};
// What was taken in the dark can be labelled only if it can be seen
if (picture) choice("brighten", (isOn) => picture.classList.toggle("bright", isOn));
// Who speaks to the computer presses keys unawares: https://www.w3.org/TR/WCAG22/#character-key-shortcuts
let hasKeys = true;
choice("keyless", (isOn) => { hasKeys = !isOn; });

document.addEventListener("submit", (event) => {
  if (isSent) event.preventDefault();
  isSent = true;
});
addEventListener("pageshow", () => { isSent = false; }); // a page that the browser kept is shown again

document.addEventListener("keydown", (event) => {
  if (!hasKeys || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isSent) return;
  const element = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!element || (element.hasAttribute("data-needs-picture") && !isSeen())) return;
  event.preventDefault();
  element.click();
});
