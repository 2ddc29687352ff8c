// From a photo to a symmetric face: find, level, crop, run, paste. The networks run here, in the browser.
import * as ort from "./made/ort.wasm.min.mjs";
import { apply, asymmetry, boxTransform, change, ffhqTransform, fivePoints, invert } from "./geometry.js";
import { matchColours } from "./light.js";
import { boxBlur, toFront, turnBack } from "./turn.js";

ort.env.wasm.wasmPaths = new URL("./made/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more would need headers that a plain web server does not send
const SIZE = 256, LANDMARK_SIDE = 128, DETECTOR_SIDE = 640;

let ready;
const open = file => ort.InferenceSession.create(new URL(`./made/${file}`, import.meta.url).href);

// Load the networks, once: call it early.
export function load() {
  ready ??= Promise.all([
    open("detector.onnx"), open("landmarks-68.onnx"), open("symmetrize-256.onnx"),
    fetch(new URL("./made/constants.json", import.meta.url)).then(answer => answer.json()),
  ]).then(([detector, landmarks, symmetrizer, constants]) => ({ detector, landmarks, symmetrizer, constants }))
    .catch(error => {
      ready = undefined;
      const old = /SIMD|WebAssembly/i.test(error.message) && !/fetch/i.test(error.message);
      throw new Error(old ? "This browser cannot run the networks (WebAssembly SIMD): update it, or use another one."
        : "The networks did not load: check the connection and reload the page.", { cause: error });
    });
  return ready;
}

export function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = width; made.height = height;
  return made;
}

// The canvas' own transform, which counts from the pixels' edges.
const fromEdges = ([a, b, c, d, e, f]) => [a, d, b, e, c + 0.5 - (a + b) / 2, f + 0.5 - (d + e) / 2];

// Between half size and full size a browser's best scaling blurs: it mixes in the next smaller size.
const quality = ([a, b]) => Math.hypot(a, b) > 0.5 && Math.hypot(a, b) < 1 ? "low" : "high";

// The aligned crop; past the photo's border the photo is mirrored.
function crop(photo, transform, size) {
  const context = canvas(size, size).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = quality(transform);
  for (const i of [-1, 1, 0]) {
    for (const j of [-1, 1, 0]) {
      context.setTransform(...fromEdges(transform));
      context.translate(i > 0 ? 2 * photo.width : 0, j > 0 ? 2 * photo.height : 0);
      context.scale(i ? -1 : 1, j ? -1 : 1);
      context.drawImage(photo, 0, 0);
    }
  }
  return context.canvas;
}

// RGB planes in [-1, 1] of a square canvas; mirrored ones too, if asked for.
function planes(image, mirror = false) {
  const size = image.width, count = size * size;
  const pixels = image.getContext("2d").getImageData(0, 0, size, size).data;
  const values = new Float32Array(3 * count * (mirror ? 2 : 1));
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const value = pixels[4 * (y * size + x) + c] / 127.5 - 1;
        values[c * count + y * size + x] = value;
        if (mirror) values[(3 + c) * count + y * size + size - 1 - x] = value;
      }
    }
  }
  return new ort.Tensor("float32", values, [mirror ? 2 : 1, 3, size, size]);
}

// The box of the largest face, in pixels of the photo; null without one. YuNet's outputs, decoded.
async function findBox(photo, detector) {
  const scale = DETECTOR_SIDE / Math.max(photo.width, photo.height), side = DETECTOR_SIDE;
  const context = canvas(side, side).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, photo.width * scale, photo.height * scale);
  const pixels = context.getImageData(0, 0, side, side).data, values = new Float32Array(3 * side * side);
  for (let i = 0; i < side * side; i++) {
    for (let c = 0; c < 3; c++) values[c * side * side + i] = pixels[4 * i + 2 - c]; // it wants BGR
  }
  const out = await detector.run({ input: new ort.Tensor("float32", values, [1, 3, side, side]) });
  let best = null, area = 0;
  for (const stride of [8, 16, 32]) {
    const columns = side / stride;
    const [faces, objects, boxes] = ["cls", "obj", "bbox"].map(name => out[`${name}_${stride}`].data);
    for (let i = 0; i < columns * columns; i++) {
      if (Math.sqrt(Math.min(1, faces[i]) * Math.min(1, objects[i])) < 0.6) continue;
      const [dx, dy, w, h] = boxes.slice(4 * i, 4 * i + 4);
      const x = (i % columns + dx) * stride, y = (Math.floor(i / columns) + dy) * stride;
      const width = Math.exp(w) * stride, height = Math.exp(h) * stride;
      if (width * height <= area) continue;
      area = width * height;
      best = [x - width / 2, y - height / 2, x + width / 2, y + height / 2].map(v => v / scale);
    }
  }
  return best;
}

// 68 landmarks of a crop in its pixels, averaged with those of its mirror image.
async function findPoints(photo, transform, { landmarks, constants }) {
  const image = crop(photo, transform, LANDMARK_SIDE);
  const { data } = (await landmarks.run({ image: planes(image, true) }, ["points"])).points;
  return constants.flip.map((partner, k) => [
    (data[2 * k] + 1 - data[2 * (68 + partner)]) / 2 * LANDMARK_SIDE - 0.5,
    (data[2 * k + 1] + data[2 * (68 + partner) + 1]) / 2 * LANDMARK_SIDE - 0.5,
  ]);
}

// Landmarks averaged over slightly shifted crops, for measurements, as facesym/asymmetry.py has them.
async function steadyPoints(photo, [a, b, c, d, e, f], nets) {
  const found = [];
  for (const shift of nets.constants.shifts) {
    const [x, y] = shift.map(part => part * LANDMARK_SIDE);
    const points = await findPoints(photo, [a, b, c + x, d, e, f + y], nets);
    found.push(points.map(point => [point[0] - x, point[1] - y]));
  }
  return found[0].map((_, k) => [0, 1].map(axis => found.reduce((sum, points) => sum + points[k][axis], 0) / found.length));
}

// The transform that brings the face upright, as facesym/faces/level.py finds it; null where none settles.
async function level(photo, box, nets, { rounds, settled }) {
  let transform = boxTransform(box, LANDMARK_SIDE);
  for (let round = 0; round < rounds; round++) {
    const found = fivePoints(await findPoints(photo, transform, nets));
    const back = invert(transform), points = found.map(point => apply(back, point));
    const moved = ffhqTransform(points, LANDMARK_SIDE);
    if (!moved) return null;
    if (change(transform, moved, LANDMARK_SIDE, settled) <= 1) return points;
    transform = moved;
  }
  return null;
}

// The network's picture as a canvas: it fades in from the rim of its region, and its colours match those of the crop
// (`seen`) with these landmarks.
function faded(picture, region, seen, points, constants) {
  const count = SIZE * SIZE, context = canvas(SIZE, SIZE).getContext("2d");
  const pixels = context.createImageData(SIZE, SIZE);
  let solid = Float32Array.from(region, value => value > 0.5 ? 1 : 0);
  for (let k = 0; k < 2; k++) solid = boxBlur(solid, SIZE, 8);
  const alpha = solid.map(value => Math.max(0, 2 * value - 1));
  const levels = values => [0, 1, 2].map(c => values.slice(c * count, (c + 1) * count).map(v => (v + 1) * 127.5));
  const face = matchColours(levels(picture), levels(seen), alpha, points, SIZE, constants);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(face[c][i]);
    pixels.data[4 * i + 3] = 255 * alpha[i];
  }
  context.putImageData(pixels, 0, 0);
  return context.canvas;
}

// The symmetric face in the pose of a crop with these landmarks, in pixels of LANDMARK_SIDE, as a canvas.
async function symmetricFace(image, landmarks, yaw, { symmetrizer, constants }) {
  const seen = planes(image), count = SIZE * SIZE, away = Math.abs(yaw), before = seen.data.slice();
  const turned = away > constants.straight && away <= constants.farthest;
  const points = landmarks.map(p => p.map(v => (v + 0.5) * SIZE / LANDMARK_SIDE - 0.5));
  const plane = (data, c) => data.subarray(c * count, (c + 1) * count);
  let front;
  if (turned) {
    let face;
    [face, front] = toFront([0, 1, 2].map(c => plane(seen.data, c)), SIZE, points, yaw, constants);
    face.forEach((values, c) => seen.data.set(values, c * count));
  }
  const out = await symmetrizer.run({ image: seen }, ["picture", "region"]);
  const picture = out.picture.data, region = out.region.data;
  if (!turned) return faded(picture, region, before, points, constants);
  const back = turnBack([...[0, 1, 2].map(c => plane(picture, c)), region], SIZE, front, points, constants);
  back.slice(0, 3).forEach((values, c) => picture.set(values, c * count));
  return faded(picture, back[3], before, points, constants);
}

// A canvas with the photo whose largest face is symmetric, and the measures of the face as it was.
export async function symmetrize(photo) {
  const nets = await load();
  const box = await findBox(photo, nets.detector);
  const points = box && await level(photo, box, nets, nets.constants);
  if (!points) throw new Error("No face was found. Try a photo in which the face is larger, upright or less covered.");
  const small = ffhqTransform(points, LANDMARK_SIDE), transform = ffhqTransform(points, SIZE);
  const landmarks = await findPoints(photo, small, nets);
  const measures = asymmetry(await steadyPoints(photo, small, nets), nets.constants);
  const face = await symmetricFace(crop(photo, transform, SIZE), landmarks, measures.yaw, nets);
  const made = canvas(photo.width, photo.height), context = made.getContext("2d");
  context.imageSmoothingQuality = quality(invert(transform));
  context.drawImage(photo, 0, 0);
  context.setTransform(...fromEdges(invert(transform)));
  context.drawImage(face, 0, 0);
  return { image: made, measures };
}
