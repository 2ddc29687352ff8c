// Geometry of a face's points. As in facesym/faces/align.py and facesym/asymmetry.py; a test holds the two together.
// A transform is [a, b, c, d, e, f]: crop x = a x + b y + c, crop y = d x + e y + f, on pixel centres.

const mean = points => [0, 1].map(k => points.reduce((sum, p) => sum + p[k], 0) / points.length);
const length = (x, y) => Math.hypot(x, y);
const distance = (p, q) => length(p[0] - q[0], p[1] - q[1]);

// Eyes, nose and mouth corners, of 68 landmarks.
export const fivePoints = p => [mean(p.slice(36, 42)), mean(p.slice(42, 48)), p[30], p[48], p[54]];

// FFHQ's square about a face; null if the points frame nothing.
export function ffhqTransform(points, size) {
  const eyes = mean(points.slice(0, 2)), mouth = mean(points.slice(3, 5));
  const across = [points[1][0] - points[0][0], points[1][1] - points[0][1]];
  const down = [mouth[0] - eyes[0], mouth[1] - eyes[1]];
  let x = [across[0] + down[1], across[1] - down[0]];
  const half = Math.max(2 * length(...across), 1.8 * length(...down));
  if (!(length(...x) > 1e-6 && half > 1e-6)) return null;
  x = x.map(v => v * half / length(...x));
  const centre = [eyes[0] + 0.1 * down[0], eyes[1] + 0.1 * down[1]];
  const k = size / (2 * half * half), a = x[0] * k, b = x[1] * k;
  const middle = (size - 1) / 2;
  return [a, b, middle - a * centre[0] - b * centre[1], -b, a, middle + b * centre[0] - a * centre[1]];
}

// An upright square about a box [x0, y0, x1, y1], twice as large.
export function boxTransform([x0, y0, x1, y1], size) {
  const scale = size / (2 * Math.max(x1 - x0, y1 - y0)), middle = (size - 1) / 2;
  return [scale, 0, middle - scale * (x0 + x1) / 2, 0, scale, middle - scale * (y0 + y1) / 2];
}

export function invert([a, b, c, d, e, f]) {
  const det = a * e - b * d;
  return [e / det, -b / det, (b * f - c * e) / det, -d / det, a / det, (c * d - a * f) / det];
}

export const apply = ([a, b, c, d, e, f], [x, y]) => [a * x + b * y + c, d * x + e * y + f];

// How far two transforms of one face differ, in units of what counts as settled: degrees, scale, fraction of the side.
export function change(before, after, size, settled) {
  const back = invert(before), m = (size - 1) / 2;
  const origin = apply(after, apply(back, [m, m])), right = apply(after, apply(back, [m + 1, m]));
  const step = [right[0] - origin[0], right[1] - origin[1]];
  const degrees = Math.abs(Math.atan2(step[1], step[0])) * 180 / Math.PI;
  const moved = [degrees, Math.abs(Math.log(length(...step))), distance(origin, [m, m]) / size];
  return Math.max(...moved.map((value, i) => value / settled[i]));
}

// Least squares whose residuals count less the larger they are (scipy's soft_l1), for rows [factors, value].
function robustFit(rows, scale = 0.01) {
  const count = rows[0][0].length;
  let fit = new Array(count).fill(0);
  for (let round = 0; round < 60; round++) {
    const normal = fit.map(() => new Array(count + 1).fill(0));
    for (const [factors, value] of rows) {
      const rest = value - factors.reduce((sum, v, i) => sum + v * fit[i], 0);
      const weight = 1 / Math.sqrt(1 + (rest / scale) ** 2);
      for (let i = 0; i < count; i++) {
        for (let j = 0; j < count; j++) normal[i][j] += weight * factors[i] * factors[j];
        normal[i][count] += weight * factors[i] * value;
      }
    }
    for (let i = 0; i < count; i++) { // Gauss-Jordan
      const pivot = normal[i][i];
      for (let j = i; j <= count; j++) normal[i][j] /= pivot;
      for (let r = 0; r < count; r++) {
        if (r === i) continue;
        const factor = normal[r][i];
        for (let j = i; j <= count; j++) normal[r][j] -= factor * normal[i][j];
      }
    }
    fit = normal.map(row => row[count]);
  }
  return fit;
}

// The indices of `facesym.asymmetry.region_indices`, from 68 landmarks. constants: constants.json.
export function asymmetry(points, { flip, depth, stable }) {
  const apart = distance(points[45], points[36]);
  const middle = mean([points[36], points[45]]);
  const centred = points.map(p => [(p[0] - middle[0]) / apart, (p[1] - middle[1]) / apart]);
  const mirrored = flip.map(k => [-centred[k][0], centred[k][1]]);
  const half = centred.map((p, k) => [(p[0] - mirrored[k][0]) / 2, (p[1] - mirrored[k][1]) / 2]);
  const even = centred.map((p, k) => [(p[0] + mirrored[k][0]) / 2, (p[1] + mirrored[k][1]) / 2]);
  const [shift, turn, tilt] = robustFit(stable.map(k => [[1, depth[k], -even[k][1]], half[k][0]]));
  const [slope] = robustFit(stable.map(k => [[even[k][0]], half[k][1]]));
  const rest = half.map((p, k) => [
    p[0] - shift - turn * depth[k] + tilt * even[k][1], p[1] - slope * even[k][0],
  ]);
  const yaw = Math.asin(Math.max(-1, Math.min(1, turn))), shortened = Math.cos(yaw);
  const unit = apart / shortened;
  const lengths = rest.map(p => 2 * length(...p) * shortened);
  const average = ks => ks.reduce((sum, k) => sum + lengths[k], 0) / ks.length;
  const gap = (a, b) => distance(points[a], points[b]) / unit;
  const eyes = [(gap(37, 41) + gap(38, 40)) / 2, (gap(43, 47) + gap(44, 46)) / 2];
  return {
    overall: Math.sqrt(lengths.slice(17).reduce((sum, v) => sum + v * v, 0) / 51),
    brow: average([17, 18, 19, 20, 21]),
    "eye opening": Math.abs(eyes[0] - eyes[1]),
    "mouth corner": average([48, 60]),
    nose: average([31, 32, 33]),
    roll: Math.atan((tilt + slope) / 2) * 180 / Math.PI,
    yaw: yaw * 180 / Math.PI,
  };
}
