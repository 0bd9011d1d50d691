/**
 * Writes 4 KiB into files of SOURCE and looks until REPLICA holds them; prints the milliseconds of each as JSON.
 * It sleeps 0.1 ms between two looks: on two cores a loop without a pause would slow what it measures.
 *
 * Usage: `latency_probe.ts SOURCE REPLICA COUNT`
 * @module
 */
const FILE_COUNT = 16;
const FILE_SIZE = 65_536;
const BLOCK_SIZE = 4096;
const SAMPLE_LIMIT_MS = 10_000;
const FIRST_LIMIT_MS = 60_000;

const [source, replica, count] = Deno.args;
const pauseCell = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps without giving up the thread to other events: there are none. */
function pause(ms: number): void {
  Atomics.wait(pauseCell, 0, 0, ms);
}

/** Looks until `path` of the replica holds `marker` at `offset`. Each look opens it anew: it may be replaced. */
function waitForMarker(path: string, { offset, marker, limitMs }: {
  offset: number;
  marker: string;
  limitMs: number;
}): void {
  const wanted = new TextEncoder().encode(marker);
  const found = new Uint8Array(wanted.length);
  const deadline = performance.now() + limitMs;
  while (true) {
    try {
      using file = Deno.openSync(path);
      file.seekSync(offset, Deno.SeekMode.Start);
      if (file.readSync(found) === wanted.length && found.every((byte, i) => byte === wanted[i])) return;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    if (performance.now() > deadline) {
      throw new Error(`Cannot see change of "${path}": not within ${limitMs} ms`);
    }
    pause(0.1);
  }
}

function markerOf(sample: number): string {
  return `sample ${String(sample).padStart(8, "0")}`;
}

const names = Array.from({ length: FILE_COUNT }, (_, i) => `latency-${i}`);
for (const [i, name] of names.entries()) {
  const bytes = crypto.getRandomValues(new Uint8Array(FILE_SIZE));
  bytes.set(new TextEncoder().encode(markerOf(i)));
  Deno.writeFileSync(`${source}/${name}`, bytes);
}
for (const [i, name] of names.entries()) {
  waitForMarker(`${replica}/${name}`, { offset: 0, marker: markerOf(i), limitMs: FIRST_LIMIT_MS });
}

const samples: number[] = [];
for (let sample = 0; sample < Number(count); sample++) {
  // Not at an even beat: a timer of the source must not fall into step.
  pause(30 + Math.random() * 70);
  const name = names[sample % FILE_COUNT];
  const offset = BLOCK_SIZE * Math.floor(Math.random() * (FILE_SIZE / BLOCK_SIZE));
  const block = crypto.getRandomValues(new Uint8Array(BLOCK_SIZE));
  const marker = markerOf(1000 + sample);
  block.set(new TextEncoder().encode(marker));
  using file = Deno.openSync(`${source}/${name}`, { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  const begin = performance.now();
  file.writeSync(block);
  waitForMarker(`${replica}/${name}`, { offset, marker, limitMs: SAMPLE_LIMIT_MS });
  samples.push(performance.now() - begin);
}
console.log(JSON.stringify(samples));
