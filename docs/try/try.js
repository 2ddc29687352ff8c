// The page: a photo comes in, the symmetric face and the measures are shown.
import { canvas, load, symmetrize } from "./faces.js";
import { mark } from "./png.js";

const LONGEST = 4096; // pixels of a photo's side: phones hold no larger canvas
const NAMES = {
  overall: "All features", brow: "Brows", "eye opening": "Eye opening", "mouth corner": "Mouth corners",
  nose: "Nose",
};
const part = id => document.getElementById(id);
let busy = false;

function tell(text, bad = false) {
  part("status").textContent = text;
  part("status").classList.toggle("bad", bad);
}

// Once what was said is on the screen.
const shown = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
const toPng = image => new Promise(done => image.toBlob(done, "image/png"));

// A blob as a canvas, upright.
async function read(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("This file cannot be read as an image. Choose a JPEG, PNG, WebP or AVIF file.");
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const photo = canvas(...[bitmap.width, bitmap.height].map(side => Math.max(1, Math.round(side * scale))));
  const context = photo.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, photo.width, photo.height);
  return photo;
}

function show(id, blob, attribute = "src") {
  const element = part(id);
  if (element[attribute]?.startsWith("blob:")) URL.revokeObjectURL(element[attribute]);
  element[attribute] = URL.createObjectURL(blob);
}

function showMeasures(measures, { both_sides, farthest }) {
  part("measures").replaceChildren(...Object.entries(NAMES).map(([key, name]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    head.scope = "row";
    head.textContent = name;
    cell.textContent = `${(100 * measures[key]).toFixed(1)} %`;
    cell.dataset.measure = key;
    row.append(head, cell);
    return row;
  }));
  const yaw = Math.abs(measures.yaw);
  part("pose").textContent = `The head is turned by about ${yaw.toFixed(0)}°${
    yaw > farthest ? ": the measures are unreliable, and the result does not fit the photo"
      : yaw > both_sides ? ": the averted side is mostly the mirror image of the other, and the measures are less reliable" : ""}.`;
}

// Symmetrize a photo: a blob, or a promise of one.
async function run(blob) {
  if (busy) return;
  busy = true;
  try {
    tell("Loading the networks (28 MB, once) …");
    const [photo, { constants }] = await Promise.all([Promise.resolve(blob).then(read), load()]);
    tell("Working …");
    await shown();
    const start = performance.now();
    const { image, measures } = await symmetrize(photo);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const made = await mark(await toPng(image), constants);
    show("before", await toPng(photo));
    show("after", made);
    show("save", made, "href");
    showMeasures(measures, constants);
    part("result").hidden = false;
    tell(`Done in ${seconds} s, on this device.`);
    part("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    tell(error.message, true);
  } finally {
    busy = false;
  }
}

function split() {
  part("before").style.clipPath = `inset(0 ${part("split").value}% 0 0)`;
}

part("split").addEventListener("input", split);
part("file").addEventListener("change", () => {
  if (part("file").files[0]) run(part("file").files[0]);
  part("file").value = ""; // so that the same file can be chosen again
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => run(fetch(`made/${button.dataset.example}`).then(answer => answer.blob(), () => {
    throw new Error("The example did not load: check the connection and try again.");
  })));
}
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    part("drop").classList.toggle("over", name === "dragover");
    const file = name === "drop" && event.dataTransfer.files[0];
    if (file) run(file);
  });
}
split();
