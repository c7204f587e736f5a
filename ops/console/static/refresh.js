// Keeps the parts of a page up to date: an element with data-refresh shows what that address answers, every data-every
// milliseconds, as long as somebody can see it. What is open stays open, and what has the focus keeps it.

const shown = (element) => [...element.querySelectorAll("details[id][open]")].map((details) => details.id);

export const show = (element, html) => {
  const open = shown(element);
  const focus = element.contains(document.activeElement) ? document.activeElement : null;
  const place = focus && [...element.querySelectorAll(focus.localName)].indexOf(focus);
  element.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focus) element.querySelectorAll(focus.localName)[place]?.focus({ preventScroll: true });
};

export const refresh = async (element) => {
  try {
    const response = await fetch(element.dataset.refresh);
    if (!response.ok) throw new Error(await response.text());
    show(element, await response.text());
    element.removeAttribute("data-stale");
  } catch (error) {
    element.dataset.stale = `Not up to date: ${error.message}`;
  }
};

for (const element of document.querySelectorAll("[data-refresh][data-every]")) {
  const again = async () => {
    if (!document.hidden) await refresh(element);
    setTimeout(again, Number(element.dataset.every));
  };
  setTimeout(again, Number(element.dataset.every));
}
