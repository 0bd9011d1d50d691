/**
 * Trees of files that are the same for the same seed.
 * @module
 */
import { lutimesSync } from "node:fs";

/** Numbers that look random and depend on the seed only (xorshift32; never for secrets). */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.u32();
  }

  /** A whole number below 2^32. */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return this.#state = x >>> 0;
  }

  /** A whole number from `min` up to and without `end`. */
  between(min: number, end: number): number {
    return min + this.u32() % (end - min);
  }

  /** One of the values. */
  pick<T>(values: readonly T[]): T {
    return values[this.between(0, values.length)];
  }

  /** Bytes that do not compress. */
  bytes(size: number): Uint8Array<ArrayBuffer> {
    const words = new Uint32Array(Math.ceil(size / 4));
    for (let i = 0; i < words.length; i++) words[i] = this.u32();
    return new Uint8Array(words.buffer, 0, size);
  }

  /** Text of words and line ends; compresses to about a third. */
  text(size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size;) {
      const word = this.pick(encodedWords);
      bytes.set(word.subarray(0, size - at), at);
      at += word.length;
    }
    return bytes;
  }
}

const encoder = new TextEncoder();
const encodedWords = [
  "understudy ",
  "replica ",
  "source\n",
  "target ",
  "window ",
  "0x7f3a ",
  "barrier: ",
  '{ "sequence": ',
  "},\n",
  "the ",
  "of ",
  "and ",
  "when ",
  "1970-01-01 ",
  "/usr/share/doc/",
  "README.md\n",
  "αβγ ",
  "42 ",
  "acknowledged ",
  "\t",
].map((word) => encoder.encode(word));

/** What a tree is made of. */
export interface TreeOptions {
  /** @default {1} */
  seed?: number;
  /** Small files. @default {100} */
  fileCount?: number;
  /** Their sizes in bytes, both ends included. @default {[0, 16384]} */
  sizes?: [min: number, max: number];
  /** Files in one directory before the next one is begun. @default {20} */
  filesPerDirectory?: number;
  /** Directories within one another, at most. @default {4} */
  depthMax?: number;
  /** Share of the files that is text, the rest does not compress. @default {0.5} */
  textShare?: number;
  /** Sizes in bytes of further files `big-0`, `big-1` … at the root. @default {[]} */
  bigFiles?: number[];
  /** Adds names that programs stumble over, among them one that is not UTF-8. @default {false} */
  oddNames?: boolean;
  /** Adds symlinks: relative, dangling, to a directory, absolute. @default {false} */
  symlinks?: boolean;
}

/** What {@linkcode makeTree} made. */
export interface MadeTree {
  /** Paths, relative to the root, of small and big files; without those of `oddNames`. */
  files: string[];
  directories: string[];
  byteCount: number;
}

/** Names, each valid alone in a directory, that break careless programs. The last part of a name may be 255 bytes. */
export const oddNames: readonly string[] = [
  " leading and trailing ",
  "-rf",
  "new\nline",
  "tab\tand\rreturn",
  "quote'\"`$(x)\\",
  "*?[a-z]",
  "#hash%20percent",
  "...",
  ".hidden",
  "ünïcödé-composed",
  "u\u0308 decomposed",
  "日本語",
  "🦕",
  "CON",
  "a:b|c<d>e",
  "trailing.",
  "~",
  "long-" + "x".repeat(250),
];

/**
 * Makes a tree below `root`, which must exist. Equal options give equal names, contents, modes and times.
 * Ordinary users can make it too.
 */
export function makeTree(root: string, options: TreeOptions = {}): MadeTree {
  const { seed = 1, fileCount = 100, bigFiles = [] } = options;
  const random = new SeededRandom(seed);
  const made: MadeTree = { files: [], directories: [], byteCount: 0 };
  makeSmallFiles({ root, random, made, fileCount, options });
  for (const [i, size] of bigFiles.entries()) {
    writeBigFile(`${root}/big-${i}`, size, { seed: seed + i });
    made.files.push(`big-${i}`);
    made.byteCount += size;
  }
  if (options.oddNames) makeOddNames(root, random);
  if (options.symlinks) makeSymlinks(root, made);
  for (const path of made.files) setTimes(`${root}/${path}`, random);
  // Deepest first: making an entry touches the directory that holds it.
  for (const path of made.directories.toReversed()) setTimes(`${root}/${path}`, random);
  return made;
}

/** Writes a file of `size` bytes, `random` ones or `text`, block by block. */
export function writeBigFile(
  path: string,
  size: number,
  { seed = 1, content = "random" }: { seed?: number; content?: "random" | "text" } = {},
): void {
  const random = new SeededRandom(seed);
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let at = 0; at < size;) {
    const blockSize = Math.min(1 << 20, size - at);
    const block = content === "text" ? random.text(blockSize) : random.bytes(blockSize);
    for (let written = 0; written < block.length;) written += file.writeSync(block.subarray(written));
    at += blockSize;
  }
}

function makeSmallFiles(
  { root, random, made, fileCount, options }: {
    root: string;
    random: SeededRandom;
    made: MadeTree;
    fileCount: number;
    options: TreeOptions;
  },
): void {
  const { sizes = [0, 16384], filesPerDirectory = 20, depthMax = 4, textShare = 0.5 } = options;
  let directory = "";
  for (let i = 0; i < fileCount; i++) {
    if (i % filesPerDirectory === 0) directory = makeDirectory(root, random, { made, depthMax });
    const size = random.between(sizes[0], sizes[1] + 1);
    const isText = random.between(0, 1000) < textShare * 1000;
    const path = `${directory}f${i}${isText ? ".txt" : ".bin"}`;
    Deno.writeFileSync(`${root}/${path}`, isText ? random.text(size) : random.bytes(size));
    Deno.chmodSync(`${root}/${path}`, random.pick([0o644, 0o644, 0o600, 0o755, 0o640]));
    made.files.push(path);
    made.byteCount += size;
  }
}

/** Makes one more directory, below one of those already made, and returns it with a slash at its end. */
function makeDirectory(
  root: string,
  random: SeededRandom,
  { made, depthMax }: { made: MadeTree; depthMax: number },
): string {
  const parents = made.directories.filter((path) => path.split("/").length < depthMax);
  const parent = parents.length === 0 || random.between(0, 4) === 0 ? "" : `${random.pick(parents)}/`;
  const path = `${parent}d${made.directories.length}`;
  Deno.mkdirSync(`${root}/${path}`);
  made.directories.push(path);
  return `${path}/`;
}

function makeOddNames(root: string, random: SeededRandom): void {
  Deno.mkdirSync(`${root}/odd`);
  for (const name of oddNames) {
    Deno.writeFileSync(`${root}/odd/${name}`, random.bytes(random.between(0, 200)));
  }
  Deno.mkdirSync(`${root}/odd/directory with\nodd name`);
  Deno.writeTextFileSync(`${root}/odd/directory with\nodd name/file`, "x");
  // Deno's own calls cannot name it.
  const { success } = new Deno.Command("sh", {
    args: ["-c", `printf raw > "$1/$(printf 'not-utf8-\\377\\376')"`, "sh", `${root}/odd`],
  }).outputSync();
  if (!success) throw new Error(`Cannot make a name that is not UTF-8 in "${root}/odd": the shell failed`);
}

function makeSymlinks(root: string, made: MadeTree): void {
  const targets = {
    "link-to-file": made.files[0] ?? "nothing",
    "link-to-directory": made.directories[0] ?? ".",
    "link-dangling": "not/there",
    "link-absolute": "/etc/hostname",
    "link-upwards": "../../../etc/hostname",
    "link-to-itself": "link-to-itself",
  };
  for (const [name, target] of Object.entries(targets)) Deno.symlinkSync(target, `${root}/${name}`);
}

/** A time in 2020 to 2023 with fractions of a second. */
function setTimes(path: string, random: SeededRandom): void {
  const seconds = 1_577_836_800 + random.between(0, 100_000_000) + random.between(0, 1_000_000) / 1_000_000;
  lutimesSync(path, seconds, seconds);
}
