// The shared photo: see stage.py. `element`, `props`, `trigger`, `upload` and `watch` come from gradio.
const find = (selector) => element.querySelector(selector);
const root = find(".stage"), image = find(".picture img"), canvas = find("canvas"), video = find("video");
const context = canvas.getContext("2d", { willReadFrequently: true });
let shown = null, found = null, past = [], last = null, erasing = false;
const PATIENCE = 120e3; // milliseconds until a photo must have been read
let taken = 0; // photos
let before = null, coming = null; // the photo that is replaced, and the path of the upload that replaces it
let reading = false, pressed = null; // whether a photo is on its way, and the button that waits for it
let mine = {}; // what the visitor painted and chose on the photo shown
const value = () => props.value || {};
const set = (changes) => { Object.assign(mine, changes); props.value = { ...value(), ...changes }; };

function say(text, bad) {
  find(".say").textContent = text || "";
  find(".say").classList.toggle("error", !!bad);
}

function render() {
  const now = value();
  if (root.dataset.state !== "camera") root.dataset.state = now.photo ? "photo" : "empty";
  document.documentElement.toggleAttribute("data-photo", !!now.photo);
  if (now.photo !== shown) {
    closeCamera();
    shown = now.photo;
    past = [];
    last = null;
    mine = {};
    canvas.width = now.width || 1; // also clears it
    canvas.height = now.height || 1;
    find(".picture").style.setProperty("--ratio", canvas.width / canvas.height);
    if (shown) image.src = shown; else image.removeAttribute("src");
    if (now.strokes && !now.strokes.startsWith("data:")) addMask(now.strokes);
    buttons();
  } else if (Object.keys(mine).some((key) => now[key] !== mine[key])) {
    props.value = { ...now, ...mine }; // the server answers with what it was sent, which may be older
  }
  if (now.found && now.found !== found) { // added to what is painted by now, which may be more than the server saw
    keep();
    addMask(now.found);
  }
  found = now.found;
  const faces = now.faces || [];
  find(".faces").replaceChildren(...(faces.length > 1 ? faces.map(faceButton) : []));
  find(".hint").textContent = faces.length > 1 ? "Click the face to work on." : "";
  if (now.error) say(now.error, true); else say(now.note);
}

function faceButton([x, y, w, h], index) {
  const button = document.createElement("button");
  button.type = "button";
  button.style.cssText = `left:${100 * x}%;top:${100 * y}%;width:${100 * w}%;height:${100 * h}%`;
  button.setAttribute("aria-label", `Face ${index + 1} from the left`);
  button.setAttribute("aria-pressed", String(index === value().chosen));
  button.innerHTML = `<b>${index + 1}</b>`;
  button.onclick = () => { set({ chosen: index }); render(); };
  return button;
}

// --- taking a photo ---
async function take(file) {
  if (!file) return;
  closeCamera();
  if (file.size > 40e6) return say("This file is larger than 40 MB: make it smaller and try again.", true);
  say("Reading the photo …");
  root.classList.add("busy");
  reading = true;
  before = shown;
  coming = null;
  const number = ++taken;
  try {
    const { path } = await upload(file);
    if (number !== taken) return; // another photo has been chosen, or this one was removed
    coming = path;
    props.value = { ...value(), upload: path };
    trigger("upload");
    setTimeout(() => { if (reading && number === taken) giveUp("The server does not answer: add the photo again."); }, PATIENCE);
  } catch (error) {
    if (number === taken) giveUp("The upload failed: try again, or try a smaller photo.");
  }
}
function stopReading() {
  taken++;
  root.classList.remove("busy");
  reading = false;
  pressed = null;
}
function giveUp(text) {
  stopReading();
  render(); // an earlier photo may have been read in the meantime
  say(text, true);
}
element.querySelectorAll("input[type=file]").forEach((input) => {
  input.onchange = () => { take(input.files[0]); input.value = ""; };
});
const picture = (list) => [...(list || [])].find((file) => file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name)) || (list || [])[0];
addEventListener("paste", (event) => {
  const { files, types } = event.clipboardData;
  const typing = event.target.closest && event.target.closest("input:not([type=file]), textarea");
  if (!files.length || (typing && types.includes("text/plain"))) return; // a spreadsheet's cell is also a picture
  take(picture(files));
});
addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
addEventListener("dragleave", () => root.classList.remove("over"));
addEventListener("drop", (event) => {
  root.classList.remove("over");
  if (event.target.closest && event.target.closest("#mask")) return;
  event.preventDefault();
  if (event.target.closest && event.target.closest("#study")) return; // the study has a box of its own
  take(picture(event.dataTransfer.files));
});
find(".remove").onclick = () => { stopReading(); say(""); trigger("clear"); };

let asking = false; // for the camera
async function openCamera() {
  if (asking || video.srcObject) return;
  asking = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    if (!video.videoWidth) await new Promise((done) => ["loadedmetadata", "emptied"].forEach((name) => video.addEventListener(name, done, { once: true })));
    if (!video.srcObject) return; // closed in the meantime
    root.dataset.state = "camera";
    say("");
  } catch (error) {
    say("The camera is not available: allow it in the browser, or choose a photo.", true);
  } finally {
    asking = false;
  }
}
function closeCamera() {
  if (video.srcObject) video.srcObject.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  if (root.dataset.state === "camera") root.dataset.state = value().photo ? "photo" : "empty";
}
element.querySelectorAll(".camera").forEach((button) => { button.onclick = openCamera; });
find(".nosnap").onclick = closeCamera;
find(".snap").onclick = () => {
  const still = document.createElement("canvas");
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext("2d").drawImage(video, 0, 0);
  still.toBlob((blob) => take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.93);
};

// --- painting ---
const colour = "#14b8a6";
const keep = () => { past.push(context.getImageData(0, 0, canvas.width, canvas.height)); if (past.length > 12) past.shift(); };
const painted = () => context.getImageData(0, 0, canvas.width, canvas.height).data.some((byte, i) => i % 4 === 3 && byte);
function buttons() {
  find(".undo").disabled = !past.length;
  find(".wipe").disabled = !painted();
}
function changed() {
  set({ strokes: painted() ? canvas.toDataURL("image/png") : null });
  buttons();
}
function addMask(url) {
  const mask = new Image(), photo = shown;
  mask.onload = () => {
    if (shown !== photo) return; // another photo has come in the meantime
    const layer = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const draw = layer.getContext("2d");
    draw.drawImage(mask, 0, 0, layer.width, layer.height);
    const pixels = draw.getImageData(0, 0, layer.width, layer.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const on = pixels.data[i] > 127;
      pixels.data.set([20, 184, 166, on ? 255 : 0], i);
    }
    draw.putImageData(pixels, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.drawImage(layer, 0, 0);
    changed();
  };
  mask.src = url;
}
function at(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
}
function stroke(from, to) {
  const scale = canvas.width / canvas.getBoundingClientRect().width;
  context.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  context.strokeStyle = colour;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = find(".size").value * scale * Math.min(1, canvas.getBoundingClientRect().width / 480);
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(to[0] + 0.01, to[1]);
  context.stroke();
}
canvas.onpointerdown = (event) => {
  if (event.button || !event.isPrimary) return; // a second finger zooms
  event.preventDefault();
  try { canvas.setPointerCapture(event.pointerId); } catch (error) { /* the pointer is gone */ }
  keep();
  last = at(event);
  stroke(last, last);
};
canvas.onpointermove = (event) => {
  if (!last || !event.isPrimary) return;
  const now = at(event);
  stroke(last, now);
  last = now;
};
canvas.onpointerup = (event) => { if (last && event.isPrimary) { last = null; changed(); } };
canvas.onpointercancel = (event) => { // the fingers zoom the page
  if (!last || !event.isPrimary) return;
  last = null;
  context.putImageData(past.pop(), 0, 0);
  changed();
};
const mode = (erase) => {
  erasing = erase;
  find(".paint").setAttribute("aria-pressed", String(!erase));
  find(".erase").setAttribute("aria-pressed", String(erase));
};
find(".paint").onclick = () => mode(false);
find(".erase").onclick = () => mode(true);
find(".find").onclick = () => trigger("apply");
find(".undo").onclick = () => { if (past.length) { context.putImageData(past.pop(), 0, 0); changed(); } };
find(".wipe").onclick = () => { keep(); context.clearRect(0, 0, canvas.width, canvas.height); changed(); };

addEventListener("click", (event) => { // what is pressed while a photo is read starts when it is there
  const button = event.target.closest && event.target.closest("#left button.primary, button.find");
  if (!reading || !button) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  pressed = button;
  say(`Reading the photo … “${button.textContent.trim()}” starts when it is there.`);
}, true);
watch("value", () => {
  const now = value();
  const earlier = (now.of && now.of !== coming) || (now.photo && now.photo === before && !now.error);
  if (reading && (now.upload || earlier)) return; // the photo is not there yet
  const waiting = pressed;
  stopReading();
  render();
  if (waiting && !value().error) setTimeout(() => waiting.click());
});
render();

// After a lost connection gradio reloads the page, and the photo is gone.
const MARK = "facesym-photo";
try {
  if (sessionStorage.getItem(MARK)) say("The page was reloaded: add the photo again.");
  sessionStorage.removeItem(MARK);
} catch (error) { /* storage is blocked */ }
addEventListener("pagehide", () => {
  try { if (shown) sessionStorage.setItem(MARK, "1"); } catch (error) { /* storage is blocked */ }
});
