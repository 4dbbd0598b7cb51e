// Pictures that were loaded a moment ago, and masks as arrays.

const MOST_PICTURES = 16;

export class Pictures {
  constructor() {
    this.found = new Map();
  }

  // The decoded picture at an address.
  get(address) {
    let picture = this.found.get(address);
    this.found.delete(address);
    picture ??= load(address).catch((error) => {
      this.found.delete(address);
      throw error;
    });
    this.found.set(address, picture);
    if (this.found.size > MOST_PICTURES) this.found.delete(this.found.keys().next().value);
    return picture;
  }
}

async function load(address) {
  const image = new Image();
  image.src = address;
  try {
    await image.decode();
  } catch {
    throw new Error(await reason(address));
  }
  return image;
}

// Why there is no picture, in the server's words.
async function reason(address) {
  try {
    const response = await fetch(address);
    if (!response.ok) return (await response.json()).error;
  } catch {
    return "seas-data review does not answer.";
  }
  return "It is damaged.";
}

// A mask's picture as one byte a pixel, 1 where it marks.
export function maskPixels(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const mask = new Uint8Array(canvas.width * canvas.height);
  for (let i = 0; i < mask.length; i += 1) mask[i] = data[4 * i] >= 128 ? 1 : 0;
  return mask;
}

export function sameBytes(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
