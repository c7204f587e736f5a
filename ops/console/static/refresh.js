// Keeps the parts of a page up to date: an element with data-refresh shows what that address answers, every data-every
// milliseconds, as long as somebody can see it. What is open or scrolled stays so, and what has the focus keeps it. If that
// fails, the element before it says so.

const PATIENCE = 20_000; // milliseconds; the console itself goes on trying for longer
const shown = new WeakMap(); // what was answered last: the same once more would load every picture again

export const show = (element, html) => {
  if (shown.get(element) === html) return;
  shown.set(element, html);
  const open = [...element.querySelectorAll("details[id][open]")].map((details) => details.id);
  const scrolled = [...element.querySelectorAll(".scroll")].map(({ scrollTop, scrollLeft }) => ({ scrollTop, scrollLeft }));
  const focus = element.contains(document.activeElement) ? document.activeElement : null;
  const place = focus && [...element.querySelectorAll(focus.localName)].indexOf(focus);
  element.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const [index, box] of element.querySelectorAll(".scroll").entries()) Object.assign(box, scrolled[index]);
  if (focus) element.querySelectorAll(focus.localName)[place]?.focus({ preventScroll: true });
};

// Into an element that is read out when its text changes
export const say = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

export const refresh = async (element) => {
  try {
    const response = await fetch(element.dataset.refresh, { signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok) throw new Error(await response.text());
    show(element, await response.text());
    say(element.previousElementSibling, "");
  } catch (error) {
    const reasons = { TypeError: "the console does not answer; is its command still running?", TimeoutError: "AWS does not answer" };
    say(element.previousElementSibling, `Not up to date: ${reasons[error.name] ?? error.message}`);
  }
};

for (const element of document.querySelectorAll("[data-refresh][data-every]")) {
  const again = async () => {
    if (!document.hidden) await refresh(element);
    setTimeout(again, Number(element.dataset.every));
  };
  setTimeout(again, Number(element.dataset.every));
}
