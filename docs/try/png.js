// A PNG that says in its metadata that it was edited by AI, as facesym's own files do.
const HEADER = 33; // signature and IHDR

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k++) value = (value >>> 1) ^ (0xedb88320 & -(value & 1));
  }
  return ~value >>> 0;
}

function chunk(kind, text) {
  const body = new TextEncoder().encode(kind + text), made = new Uint8Array(body.length + 8);
  const view = new DataView(made.buffer);
  view.setUint32(0, body.length - 4);
  made.set(body, 4);
  view.setUint32(body.length + 4, crc(body));
  return made;
}

// Mark the PNG (a Blob) with the texts of constants.json.
export async function mark(png, { description, xmp }) {
  const bytes = await png.arrayBuffer();
  return new Blob([
    bytes.slice(0, HEADER),
    chunk("tEXt", `Description\0${description}`),
    chunk("iTXt", `XML:com.adobe.xmp\0\0\0\0\0${xmp}`),
    bytes.slice(HEADER),
  ], { type: "image/png" });
}
