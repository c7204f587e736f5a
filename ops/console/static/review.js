// A key for each button that shows one. A picture is labelled once it can be seen, and once: not by a key that is held
// down, and not by a second press while the first one is on its way.

const picture = document.getElementById("picture");
const isSeen = () => picture?.complete && picture.naturalWidth > 0;
let isSent = false;

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
