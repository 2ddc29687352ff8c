// A result: see Viewer in panel.py. `element`, `props`, `trigger` and `watch` come from gradio.
const find = (selector) => element.querySelector(selector);
const compare = find(".compare"), turn = find(".turn"), slide = compare.querySelector("input"), dial = turn.querySelector("input");
const tasks = () => [...document.querySelectorAll("#top [role=tab]")].map((card) => [card.dataset.tab, card.querySelector("b").textContent]);
let frames = [], labels = [], views = "";

const move = () => compare.style.setProperty("--at", slide.value + "%");
function show(view) {
  frames = view.frames;
  labels = view.labels;
  compare.hidden = find(".modes").hidden = frames.length > 0 || !view.before;
  turn.hidden = !compare.hidden;
  if (!compare.hidden) {
    find(".before").src = view.before;
    find(".after").src = view.after;
    return;
  }
  turn.querySelector("label").hidden = turn.querySelector("a").hidden = frames.length < 2;
  if (!frames.length) { turn.querySelector("img").src = view.after; turn.querySelector("img").alt = view.label; return; }
  turn.querySelector("img").alt = view.label;
  find(".about").textContent = view.about;
  dial.max = frames.length - 1;
  dial.value = view.start;
  frames.forEach((url) => { new Image().src = url; }); // preload, so that the slider responds at once
  turnTo();
}
function turnTo() {
  turn.querySelector("img").src = frames[dial.value];
  turn.querySelector("output").textContent = labels[dial.value];
  dial.setAttribute("aria-valuetext", labels[dial.value]);
  const save = turn.querySelector("a");
  save.href = frames[dial.value];
  save.download = decodeURIComponent(frames[dial.value].split("/").pop());
}
function pick(index) {
  [...find(".views").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
  show(props.value.views[index]);
}
function button(label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "btn";
  made.textContent = label;
  made.onclick = act;
  return made;
}
function link({ label, href, name }, index) {
  const made = document.createElement("a");
  made.className = index ? "btn" : "btn main";
  made.href = href;
  made.download = name;
  made.textContent = label;
  return made;
}
function render() {
  const value = props.value || {};
  const own = JSON.stringify(value);
  if (own === views) return;
  views = own;
  find(".viewer").hidden = !(value.views || []).length;
  if (find(".viewer").hidden) return;
  find(".views").replaceChildren(...(value.views.length > 1 ? value.views.map((view, i) => button(view.label, () => pick(i))) : []));
  const text = (content) => Object.assign(document.createElement("span"), { textContent: content });
  const downloads = value.downloads || [];
  find(".downloads").replaceChildren(...(downloads.length ? [text("Download, tagged as edited:"), ...downloads.map(link)] : []));
  const others = tasks().filter(([task]) => task !== value.task);
  find(".next").replaceChildren(...(value.task ? [text("Use this result in:"), ...others.map(([task, title]) => button(title, () => {
    dispatchEvent(new CustomEvent("facesym-tab", { detail: task }));
    trigger("select", { task, frame: frames.length ? frames[dial.value] : "" });
  }))] : []));
  pick(0);
  if (value.task) reveal();
}
function reveal() { // on a phone it is below the visible area
  const { top, bottom, height } = find(".viewer").getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (height && (top > innerHeight - 200 || bottom < 200)) element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}

slide.oninput = move;
dial.oninput = turnTo;
let from = null; // dragging the image moves the slider
turn.querySelector("img").onpointerdown = (event) => { from = [event.clientX, Number(dial.value)]; event.preventDefault(); };
addEventListener("pointermove", (event) => {
  if (!from || frames.length < 2) return;
  dial.value = from[1] + Math.round(((event.clientX - from[0]) / turn.clientWidth) * (frames.length - 1) * 1.4);
  turnTo();
});
const release = () => { from = null; compare.classList.remove("held"); };
addEventListener("pointerup", release);
addEventListener("pointercancel", release);
compare.oncontextmenu = (event) => { if (compare.dataset.mode === "hold") event.preventDefault(); };
compare.onpointerdown = () => { if (compare.dataset.mode === "hold") compare.classList.add("held"); };
compare.onkeydown = (event) => {
  if (event.key !== " " || compare.dataset.mode !== "hold") return;
  compare.classList.toggle("held");
  compare.setAttribute("aria-pressed", String(compare.classList.contains("held")));
  event.preventDefault();
};
find(".modes").querySelectorAll("button").forEach((mode) => {
  mode.onclick = () => {
    compare.dataset.mode = mode.dataset.mode;
    const hold = mode.dataset.mode === "hold"; // a button, for the keyboard and screen readers
    for (const [name, value] of [["tabindex", "0"], ["role", "button"], ["aria-label", "Show before"], ["aria-pressed", "false"]]) {
      if (hold) compare.setAttribute(name, value); else compare.removeAttribute(name);
    }
    find(".modes").querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === mode)));
  };
});
watch("value", render);
move();
render();
