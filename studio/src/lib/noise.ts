// Static, as a picture to begin from: the same for the same seed.

/** Paints grey-coloured noise over a whole canvas. */
export function paintNoise(canvas: HTMLCanvasElement, seed = 1): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const image = context.createImageData(canvas.width, canvas.height);
  const next = mulberry32(seed);
  for (let i = 0; i < image.data.length; i += 4) {
    for (let channel = 0; channel < 3; channel++) image.data[i + channel] = 128 + 58 * normal(next);
    image.data[i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Roughly normal: the sum of four uniform numbers, centred, with variance 1. */
function normal(next: () => number): number {
  return (next() + next() + next() + next() - 2) * Math.sqrt(3);
}

/** A small generator of uniform numbers in [0, 1) (Tommy Ettinger's mulberry32, public domain). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
