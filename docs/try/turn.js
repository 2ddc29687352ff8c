// Warp a turned head to the front and back. As in facesym/faces/turn.py; a test holds the two together.
// An image is a list of planes, each a Float32Array of size × size values; points are 68 landmarks in pixels.

const SMOOTHING = 1e-3, COARSE = 33;
const minus = (p, q) => [p[0] - q[0], p[1] - q[1]];
const distance = (p, q) => Math.hypot(...minus(p, q));

export function boxBlur(values, size, radius) {
  for (const [step, next] of [[1, size], [size, 1]]) {
    const blurred = new Float32Array(values.length);
    for (let line = 0; line < size; line++) {
      let sum = 0;
      const at = k => values[line * next + Math.max(0, Math.min(size - 1, k)) * step];
      for (let k = -radius; k <= radius; k++) sum += at(k);
      for (let k = 0; k < size; k++) {
        blurred[line * next + k * step] = sum / (2 * radius + 1);
        sum += at(k + radius + 1) - at(k - radius);
      }
    }
    values = blurred;
  }
  return values;
}

// The image at yaw 0 (degrees), its midline in the middle, and its landmarks.
export function toFront(planes, size, points, yaw, { flip, depth, around, mirrored: [low, high] }) {
  const shift = -distance(points[45], points[36]) * Math.sin(yaw * Math.PI / 180);
  let goal = points.map(([x, y], k) => [x + shift * depth[k], y]);
  const off = (size - 1) / 2 - goal.reduce((sum, p) => sum + p[0], 0) / goal.length;
  goal = goal.map(([x, y]) => [x + off, y]);
  const [own, area] = warp(planes, size, points, goal, flip, around);
  const other = planes.map(plane => plane.map((_, i) => plane[i - 2 * (i % size) + size - 1]));
  const [mirrored] = warp(other, size, flip.map(k => [size - 1 - points[k][0], points[k][1]]), goal, flip, around);
  let trust = area.map(value => Math.max(0, Math.min(1, (value - low) / (high - low))));
  for (let k = 0; k < 3; k++) trust = boxBlur(trust, size, 2); // about a Gaussian of a hundredth of the side
  const image = own.map((plane, c) => plane.map((value, i) => trust[i] * value + (1 - trust[i]) * mirrored[c][i]));
  return [image, goal];
}

// An image at the front, with these landmarks, warped to the pose of the landmarks `goal`.
export const turnBack = (planes, size, points, goal, { flip, around }) =>
  warp(planes, size, points, goal, flip, around)[0];

function warp(planes, size, points, goal, flip, around) {
  const unit = distance(points[45], points[36]);
  const along = vector => vector.map(v => v * unit / Math.hypot(...vector));
  const out = along(minus(points[0], points[16])), up = along(minus(points[27], points[8]));
  const from = [...points], to = [...goal];
  for (const side of [1, -1]) {
    for (const [left, outwards, above, fraction] of around) {
      const k = side > 0 ? left : flip[left];
      const point = [0, 1].map(c => points[k][c] + side * outwards * out[c] + above * up[c]);
      from.push(point);
      to.push([0, 1].map(c => point[c] + fraction * (goal[k][c] - points[k][c])));
    }
  }
  const [x, y] = thinPlate(to, from, size);
  return [sample(planes, size, x, y), localArea(x, y, size)];
}

// A thin-plate spline that moves points and keeps the image's border: the new x and y of each pixel.
function thinPlate(points, targets, size) {
  const edge = [0, 1, 2, 3, 4].map(k => k * (size - 1) / 4);
  const border = edge.flatMap(x => edge.map(y => [x, y])).filter(p => p.some(v => v === 0 || v === size - 1));
  const centres = [...points, ...border], values = [...targets, ...border];
  const kernel = r => r > 0 ? r * r * Math.log(r) : 0, count = centres.length;
  const affine = ([x, y]) => [1, x / size, y / size];
  const rows = centres.map((p, i) => [
    ...centres.map((q, j) => kernel(distance(p, q)) + (i === j ? SMOOTHING : 0)), ...affine(p), ...values[i].map(v => v / size),
  ]);
  for (let c = 0; c < 3; c++) rows.push([...centres.map(p => affine(p)[c]), 0, 0, 0, 0, 0]);
  const weights = solve(rows, 2);
  const grid = [new Float64Array(COARSE * COARSE), new Float64Array(COARSE * COARSE)];
  for (let i = 0; i < COARSE * COARSE; i++) {
    const p = [i % COARSE, Math.floor(i / COARSE)].map(v => v * (size - 1) / (COARSE - 1));
    const factors = [...centres.map(q => kernel(distance(p, q))), ...affine(p)];
    for (const c of [0, 1]) grid[c][i] = size * factors.reduce((sum, f, k) => sum + f * weights[k][c], 0);
  }
  return grid.map(plane => enlarged(plane, size));
}

// Solve linear equations, rows of [factors, values], by elimination with pivots.
function solve(rows, values) {
  const count = rows.length;
  for (let i = 0; i < count; i++) {
    let best = i;
    for (let r = i + 1; r < count; r++) if (Math.abs(rows[r][i]) > Math.abs(rows[best][i])) best = r;
    [rows[i], rows[best]] = [rows[best], rows[i]];
    for (let r = 0; r < count; r++) {
      if (r === i || rows[r][i] === 0) continue;
      const factor = rows[r][i] / rows[i][i];
      for (let k = i; k < count + values; k++) rows[r][k] -= factor * rows[i][k];
    }
  }
  return rows.map((row, i) => row.slice(count).map(v => v / row[i]));
}

// The coarse grid at the image's size, linear in between.
function enlarged(grid, size) {
  const full = new Float32Array(size * size), step = (COARSE - 1) / (size - 1);
  for (let y = 0; y < size; y++) {
    const i = Math.min(COARSE - 2, Math.floor(y * step)), v = y * step - i;
    for (let x = 0; x < size; x++) {
      const j = Math.min(COARSE - 2, Math.floor(x * step)), u = x * step - j, k = i * COARSE + j;
      full[y * size + x] = (1 - v) * ((1 - u) * grid[k] + u * grid[k + 1])
        + v * ((1 - u) * grid[k + COARSE] + u * grid[k + COARSE + 1]);
    }
  }
  return full;
}

// Source pixels per pixel, by differences as numpy.gradient takes them.
function localArea(x, y, size) {
  const slope = (map, i, at, step) => {
    const low = at > 0 ? i - step : i, high = at < size - 1 ? i + step : i;
    return (map[high] - map[low]) / ((high - low) / step);
  };
  return x.map((_, i) => {
    const column = i % size, row = Math.floor(i / size);
    return slope(x, i, column, 1) * slope(y, i, row, size) - slope(x, i, row, size) * slope(y, i, column, 1);
  });
}

// The planes at these coordinates, bicubic as OpenCV's; past the border they are reflected.
function sample(planes, size, x, y) {
  const made = planes.map(plane => new Float32Array(plane.length));
  const across = new Float64Array(4), down = new Float64Array(4), columns = new Int32Array(4);
  const inside = k => { k = k < 0 ? -1 - k : k; return k >= size ? Math.max(0, 2 * size - 1 - k) : k; };
  for (let i = 0; i < size * size; i++) {
    const left = Math.floor(x[i]), top = Math.floor(y[i]);
    cubic(x[i] - left, across);
    cubic(y[i] - top, down);
    for (let c = 0; c < 4; c++) columns[c] = inside(left - 1 + c);
    for (let r = 0; r < 4; r++) {
      const row = inside(top - 1 + r) * size;
      for (let c = 0; c < 4; c++) {
        const weight = down[r] * across[c], k = row + columns[c];
        for (let n = 0; n < planes.length; n++) made[n][i] += weight * planes[n][k];
      }
    }
  }
  return made;
}

function cubic(f, weights) {
  const A = -0.75, near = d => ((A + 2) * d - (A + 3)) * d * d + 1;
  weights[0] = ((A * (1 + f) - 5 * A) * (1 + f) + 8 * A) * (1 + f) - 4 * A;
  weights[1] = near(f);
  weights[2] = near(1 - f);
  weights[3] = 1 - weights[0] - weights[1] - weights[2];
}
