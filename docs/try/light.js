// Match the colours of the symmetric face to the photo's. As in facesym/faces/paste.py.
// Planes are lists of Float32Arrays of size × size values from 0 to 255; size is a power of two.
import { boxBlur } from "./turn.js";

const SWEEPS = 8;

// The face's colours, equal to the photo's where it fades in (alpha below 0.5) and the photo shows the face too. In
// between, the colours there are interpolated. Where the photo is darker, colours are scaled, else shifted.
export function matchColours(face, photo, alpha, points, size, { black }) {
  const outline = hull(faceOutline(points)), seam = new Uint8Array(size * size);
  for (let i = 0; i < seam.length; i++) {
    seam[i] = alpha[i] > 0 && alpha[i] < 0.5 && inside(outline, i % size, Math.floor(i / size), size / 64);
  }
  if (!seam.some(value => value)) return face;
  const coarse = [...photo, ...face].map(plane => boxBlur(boxBlur(plane, size, 2), size, 2));
  const light = diffuse(coarse, seam, size);
  return face.map((plane, c) => plane.map((value, i) => {
    const wanted = light[c][i], own = light[c + 3][i];
    return wanted < own ? (value + black) * (wanted + black) / (own + black) - black : value + wanted - own;
  }));
}

// The landmarks of the jaw, and the forehead above the brows: as face_region in facesym/faces/geometry.py.
function faceOutline(points) {
  const mean = (list, c) => list.reduce((sum, p) => sum + p[c], 0) / list.length;
  const brows = points.slice(17, 27), nose = points.slice(30, 36);
  const up = [0, 1].map(c => mean(brows, c) - mean(nose, c));
  const forehead = brows.map((p, k) => {
    const height = 0.8 * Math.sin((0.22 + 0.56 * k / 9) * Math.PI);
    return [p[0] + height * up[0], p[1] + height * up[1]];
  });
  return [...points.slice(0, 17), ...forehead];
}

const cross = (a, b, x, y) => (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]);

// The convex hull, by Andrew's monotone chain.
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = list => {
    const chain = [];
    for (const p of list) {
      while (chain.length > 1 && cross(chain.at(-2), chain.at(-1), ...p) <= 0) chain.pop();
      chain.push(p);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

// Whether a point lies in a convex polygon, at least `margin` from its sides.
const inside = (polygon, x, y, margin) => polygon.every((a, k) => {
  const b = polygon[(k + 1) % polygon.length];
  return cross(a, b, x, y) >= margin * Math.hypot(b[0] - a[0], b[1] - a[1]);
});

// Interpolate known values smoothly: the Laplace equation, solved from coarse to fine.
function diffuse(planes, known, size) {
  if (size <= 2) {
    const pixels = [...known.keys()].filter(i => known[i]);
    return planes.map(plane => plane.map(() => pixels.reduce((sum, i) => sum + plane[i], 0) / pixels.length));
  }
  const half = size / 2;
  const members = Array.from({ length: half * half }, (_, i) => {
    const first = 2 * (Math.floor(i / half) * size + i % half);
    return [first, first + 1, first + size, first + size + 1].filter(k => known[k]);
  });
  const mean = (plane, list) => list.reduce((sum, k) => sum + plane[k], 0) / (list.length || 1);
  const small = planes.map(plane => Float32Array.from(members, list => mean(plane, list)));
  const coarse = diffuse(small, Uint8Array.from(members, list => list.length > 0), half);
  return planes.map((plane, c) => relaxed(enlarged(coarse[c], half), plane, known, size));
}

// Twice the size, linear in between.
function enlarged(plane, half) {
  const size = 2 * half, full = new Float32Array(size * size);
  const near = k => Math.max(0, Math.min(half - 1, k));
  for (let y = 0; y < size; y++) {
    const v = (y + 0.5) / 2 - 0.5, top = Math.floor(v), b = v - top;
    for (let x = 0; x < size; x++) {
      const u = (x + 0.5) / 2 - 0.5, left = Math.floor(u), a = u - left;
      const row = k => (1 - a) * plane[near(k) * half + near(left)] + a * plane[near(k) * half + near(left + 1)];
      full[y * size + x] = (1 - b) * row(top) + b * row(top + 1);
    }
  }
  return full;
}

// Each unknown value becomes the mean of its neighbours, a few times; the known ones stay.
function relaxed(values, plane, known, size) {
  const near = k => Math.max(0, Math.min(size - 1, k));
  let now = values.map((value, i) => known[i] ? plane[i] : value);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const next = now.slice();
    for (let y = 0; y < size; y++) {
      const [above, row, below] = [near(y - 1) * size, y * size, near(y + 1) * size];
      for (let x = 0; x < size; x++) {
        if (known[row + x]) continue;
        const [left, right] = [near(x - 1), near(x + 1)];
        next[row + x] = (now[above + left] + now[above + right] + now[below + left] + now[below + right]
          + 2 * (now[above + x] + now[below + x] + now[row + left] + now[row + right])) / 12;
      }
    }
    now = next;
  }
  return now;
}
