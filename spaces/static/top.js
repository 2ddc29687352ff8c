// The page's five tabs, reflected in the URL's hash.
const cards = [...element.querySelectorAll("[role=tab]")];
const names = cards.map((card) => card.dataset.tab);
function reveal() { // a phone shows only some of the cards
  const card = cards.find((each) => each.tabIndex === 0), row = card.parentElement;
  const { left, right } = card.getBoundingClientRect(), { left: start, right: end } = row.getBoundingClientRect();
  row.scrollLeft += Math.min(left - start, 0) + Math.max(right - end, 0);
}
function choose(tab, move) {
  if (!names.includes(tab)) return;
  document.documentElement.dataset.tab = tab;
  cards.forEach((card) => {
    const chosen = card.dataset.tab === tab;
    card.setAttribute("aria-selected", String(chosen));
    card.tabIndex = chosen ? 0 : -1;
  });
  reveal();
  if (location.hash.slice(1) !== tab) history.replaceState(null, "", "#" + tab);
  if (move) document.querySelector("#workspace")?.scrollIntoView({ behavior: "smooth", block: "start" });
}
cards.forEach((card, index) => {
  card.onclick = () => choose(card.dataset.tab, matchMedia("(max-width: 700px)").matches);
  card.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = cards[(index + step + cards.length) % cards.length];
    choose(next.dataset.tab);
    next.focus();
  };
});
addEventListener("hashchange", () => choose(location.hash.slice(1)));
addEventListener("facesym-tab", (event) => choose(event.detail, true));
choose(document.documentElement.dataset.tab || names[0]);
new ResizeObserver(reveal).observe(cards[0]); // with a photo, the cards shrink
const dark = () => document.body.classList.contains("dark");
element.querySelector(".theme").onclick = () => {
  document.body.classList.toggle("dark");
  try { localStorage.setItem("facesym-dark", String(dark())); } catch (error) { /* storage is blocked: keep the theme for this visit only */ }
};
try {
  const kept = localStorage.getItem("facesym-dark");
  if (kept !== null && !location.search.includes("__theme")) document.body.classList.toggle("dark", kept === "true");
} catch (error) { /* as above */ }
