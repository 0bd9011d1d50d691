/**
 * Programs at work in a directory: they write self-describing files, rename, delete and make directories, step by step
 * as a seed has it, so that whoever looks at a copy can tell whole files from torn ones.
 *
 * Names say what may be expected of a file while it is being replicated:
 *
 * ```text
 * w…    below 1 MiB, each version whole: written beside under a `.tmp-` name, then renamed     never torn
 * o…    1 to 3 MiB, written once like `w`                                                       never torn
 * p…    1 to 3 MiB, new versions that differ in a few blocks, renamed over the old one          whole when at rest
 * b…    blocks rewritten in place                                                              whole when at rest
 * .tmp- being written                                                                          nothing
 * ```
 * @module
 */
import {
  areBlocksWhole,
  BLOCK_SIZE,
  decodeVersion,
  encodeBlock,
  encodeVersion,
  seededRandom,
  VERSION_HEAD_SIZE,
} from "./self_describing.ts";

const MiB = 1024 ** 2;
/** Names in use at once, so that the tree stays small and names are used again. */
const DIRECTORIES_MAX = 12;
const FILES_MAX = 120;

type Kind = "w" | "o" | "p" | "b";

/** One file as the load knows it. */
interface LoadFile {
  kind: Kind;
  id: number;
  path: string;
  generation: number;
  size: number;
}

/** A copy of a file that is not what it must be. */
export interface Torn {
  path: string;
  size: number;
  reason: string;
}

/** See the module's text. */
export class SelfDescribingLoad {
  steps = 0;
  readonly #root: string;
  readonly #random: () => number;
  readonly #files = new Map<string, LoadFile>();
  readonly #directories = ["d0"];
  /** Of every id that was used: the last generation, and whether one of its versions was empty. */
  readonly #generations = new Map<number, number>();
  /** Names that an empty version stood at. */
  readonly #emptyNames = new Set<string>();
  #lastId = 0;
  #lastDirectory = 0;

  /** @param root An empty directory. */
  constructor(root: string, seed: number) {
    this.#root = root;
    this.#random = seededRandom(seed);
    Deno.mkdirSync(`${root}/d0`);
  }

  /** Does one thing. */
  async step(): Promise<void> {
    this.steps++;
    const dice = this.#random();
    if (dice < 0.45) return await this.#writeWhole();
    if (dice < 0.50) return await this.#writeOnce();
    if (dice < 0.60) return await this.#writePatched();
    if (dice < 0.70) return this.#writeBlocks();
    if (dice < 0.82) return this.#renameFile();
    if (dice < 0.90) return this.#deleteFile();
    if (dice < 0.94) return this.#makeDirectory();
    if (dice < 0.98) return this.#renameDirectory();
    return this.#removeDirectory();
  }

  /** Looks at every file of a copy that may never be torn. Names that vanish meanwhile are passed over. */
  async findTorn(copyRoot: string): Promise<{ looked: number; torn: Torn[] }> {
    const torn: Torn[] = [];
    let looked = 0;
    for await (const path of filesBelow(copyRoot)) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      if (!name.startsWith("w") && !name.startsWith("o")) continue;
      const bytes = await Deno.readFile(path).catch(() => undefined);
      if (!bytes) continue;
      looked++;
      const reason = this.#whatIsWrong(bytes, name);
      if (reason) torn.push({ path, size: bytes.length, reason });
    }
    return { looked, torn };
  }

  /** Looks at every file of a copy at rest. */
  async findBroken(copyRoot: string): Promise<Torn[]> {
    const { torn } = await this.findTorn(copyRoot);
    for await (const path of filesBelow(copyRoot)) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const bytes = await Deno.readFile(path);
      const isBroken = name.startsWith("p")
        ? this.#whatIsWrong(bytes, name) !== ""
        : name.startsWith("b") && !areBlocksWhole(bytes);
      if (isBroken) torn.push({ path, size: bytes.length, reason: "broken at rest" });
    }
    return torn;
  }

  #whatIsWrong(bytes: Uint8Array<ArrayBuffer>, name: string): string {
    const version = decodeVersion(bytes);
    if (version === "torn") return "its checksum does not hold";
    if (version === "empty") return this.#emptyNames.has(name) ? "" : "it is empty and never was";
    const last = this.#generations.get(version.id);
    return last !== undefined && version.generation <= last ? "" : "it was never written";
  }

  async #writeWhole(): Promise<void> {
    const file = this.#existing("w") ?? this.#newFile("w");
    if (!file) return;
    const dice = this.#random();
    const size = dice < 0.1 ? 0 : VERSION_HEAD_SIZE +
      Math.floor(this.#random() * (dice < 0.8 ? 40_000 : dice < 0.9 ? 250_000 : 0.9 * MiB));
    await this.#replace(file, size);
  }

  async #writeOnce(): Promise<void> {
    const file = this.#newFile("o");
    if (file) await this.#replace(file, this.#largeSize());
  }

  async #writePatched(): Promise<void> {
    const known = this.#existing("p");
    if (!known) {
      const file = this.#newFile("p");
      return file && await this.#replace(file, this.#largeSize());
    }
    const like = await Deno.readFile(`${this.#root}/${known.path}`);
    await this.#replace(known, like.length, like);
  }

  /** Writes a version beside and renames it over the name, as editors do: in pieces, with others working meanwhile. */
  async #replace(file: LoadFile, size: number, like?: Uint8Array): Promise<void> {
    const generation = ++file.generation;
    const bytes = encodeVersion({ id: file.id, generation }, { size, like });
    const directory = file.path.slice(0, file.path.lastIndexOf("/"));
    const temporary = `${this.#root}/${directory}/.tmp-${file.id}-${generation}`;
    {
      using open = await Deno.open(temporary, { write: true, createNew: true });
      const piece = Math.ceil(size / 3) || 1;
      for (let at = 0; at < size; at += piece) await writeAll(open, bytes.subarray(at, at + piece));
    }
    // Known before it can be seen.
    this.#generations.set(file.id, generation);
    if (size === 0) this.#emptyNames.add(file.path.slice(directory.length + 1));
    file.size = size;
    this.#files.set(file.path, file);
    Deno.renameSync(temporary, `${this.#root}/${file.path}`);
  }

  #writeBlocks(): void {
    const known = this.#existing("b");
    const file = known ?? this.#newFile("b");
    if (!file) return;
    const generation = ++file.generation;
    using open = Deno.openSync(`${this.#root}/${file.path}`, { write: true, create: true });
    const blockCount = Math.floor(file.size / BLOCK_SIZE);
    const indexes = known
      ? Array.from({ length: 3 }, () => Math.floor(this.#random() * blockCount))
      : Array.from({ length: 1 + Math.floor(this.#random() * 3 * MiB / BLOCK_SIZE) }, (_, i) => i);
    for (const index of indexes) {
      open.seekSync(index * BLOCK_SIZE, Deno.SeekMode.Start);
      writeAllSync(open, encodeBlock({ id: file.id, generation }, index));
    }
    if (!known) file.size = indexes.length * BLOCK_SIZE;
    this.#files.set(file.path, file);
  }

  #renameFile(): void {
    const file = this.#existing();
    if (!file) return;
    const over = this.#random() < 0.3 ? this.#existing(file.kind) : undefined;
    const to = over && over !== file ? over.path : this.#newPath(file.kind);
    Deno.renameSync(`${this.#root}/${file.path}`, `${this.#root}/${to}`);
    if (file.size === 0) this.#emptyNames.add(to.slice(to.lastIndexOf("/") + 1));
    this.#files.delete(file.path);
    file.path = to;
    this.#files.set(to, file);
  }

  #deleteFile(): void {
    const file = this.#existing();
    if (!file) return;
    Deno.removeSync(`${this.#root}/${file.path}`);
    this.#files.delete(file.path);
  }

  #makeDirectory(): void {
    if (this.#directories.length >= DIRECTORIES_MAX) return;
    const path = this.#newDirectoryPath();
    Deno.mkdirSync(`${this.#root}/${path}`);
    this.#directories.push(path);
  }

  #renameDirectory(): void {
    const from = this.#pick(this.#directories)!;
    const inside = (path: string) => path === from || path.startsWith(`${from}/`);
    const parents = this.#directories.filter((path) => !inside(path));
    const to = `${this.#random() < 0.5 ? "" : `${this.#pick(parents) ?? ""}/`}`.replace(/^\/$/, "") +
      `d${++this.#lastDirectory}`;
    Deno.renameSync(`${this.#root}/${from}`, `${this.#root}/${to}`);
    const moved = (path: string) => inside(path) ? to + path.slice(from.length) : path;
    this.#directories.splice(0, Infinity, ...this.#directories.map(moved));
    const files = [...this.#files.values()];
    this.#files.clear();
    for (const file of files) this.#files.set(file.path = moved(file.path), file);
  }

  #removeDirectory(): void {
    if (this.#directories.length < 4) return;
    const path = this.#pick(this.#directories)!;
    const inside = (each: string) => each === path || each.startsWith(`${path}/`);
    if (this.#directories.every(inside)) return;
    Deno.removeSync(`${this.#root}/${path}`, { recursive: true });
    this.#directories.splice(0, Infinity, ...this.#directories.filter((each) => !inside(each)));
    for (const file of [...this.#files.values()]) if (inside(file.path)) this.#files.delete(file.path);
  }

  /** A file of a kind to go on with; often none, so that there are new ones. */
  #existing(kind?: Kind): LoadFile | undefined {
    const files = [...this.#files.values()].filter((file) => !kind || file.kind === kind);
    const wantsNew = kind && files.length < FILES_MAX / 5 && this.#random() < 0.3;
    return wantsNew ? undefined : this.#pick(files);
  }

  #newFile(kind: Kind): LoadFile | undefined {
    if (this.#files.size >= FILES_MAX) return void this.#deleteFile();
    return { kind, id: ++this.#lastId, path: this.#newPath(kind), generation: 0, size: 0 };
  }

  #newPath(kind: Kind): string {
    // Few names, so that one that was deleted comes back.
    for (;;) {
      const path = `${this.#pick(this.#directories)}/${kind}${Math.floor(this.#random() * FILES_MAX)}`;
      if (!this.#files.has(path)) return path;
    }
  }

  #newDirectoryPath(): string {
    const parent = this.#random() < 0.5 ? "" : `${this.#pick(this.#directories)}/`;
    return `${parent}d${++this.#lastDirectory}`;
  }

  #largeSize(): number {
    return MiB + Math.floor(this.#random() * 2 * MiB);
  }

  #pick<T>(items: T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }
}

/** Regular files below a directory, as far as they are still there when it comes to them. */
async function* filesBelow(directory: string): AsyncGenerator<string> {
  const entries = await Array.fromAsync(Deno.readDir(directory)).catch(() => []);
  for (const { name, isDirectory, isFile } of entries) {
    if (isFile) yield `${directory}/${name}`;
    if (isDirectory) yield* filesBelow(`${directory}/${name}`);
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

function writeAllSync(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}
