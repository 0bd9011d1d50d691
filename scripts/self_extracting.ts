/**
 * Packs bundled modules and the runtime into one self-extracting file:
 *
 * ```text
 * launcher.sh, filled in   padded with line feeds to 4 KiB
 * module …                 padded with line feeds to 4 KiB, which JavaScript ignores, so dd copies whole blocks
 * zeros                    to the next MiB
 * runtime                  to the end of the file
 * ```
 *
 * Usage: `self_extracting.ts MODULES_DIRECTORY RUNTIME TARGET OUTPUT`
 * @module
 */
import { createHash } from "node:crypto";

const BLOCK_SIZE = 4096;
const BIG_BLOCK_SIZE = 1 << 20;

/** A file to pack, at its place in the cache directory. */
interface Member {
  path: string;
  bytes: Uint8Array;
  digest: string;
}

async function main([modulesDirectory, runtimePath, target, output]: string[]): Promise<void> {
  const launcher = await Deno.readTextFile(new URL("launcher.sh", import.meta.url));
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  const modules: Member[] = [];
  for (const path of modulePaths(modulesDirectory)) {
    modules.push(member(path, padded(await Deno.readFile(`${modulesDirectory}/${path}`), BLOCK_SIZE, 0x0a)));
  }
  const runtime = member("understudy", await Deno.readFile(runtimePath));
  const programDirectory = `program-${shortDigest(modules.map((one) => one.path + one.digest).join("\n"))}`;
  const runtimeDirectory = `runtime-${shortDigest(runtime.digest)}`;
  const placed = [
    ...modules.map((one) => ({ ...one, path: `${programDirectory}/${one.path}` })),
    { ...runtime, path: `${runtimeDirectory}/understudy` },
  ].sort((a, b) => a.path < b.path ? -1 : 1); // as ls prints them

  // The list of files says where they begin, behind a launcher whose length depends on the list:
  // leave room for the digits first.
  const fill = (headerSize: number) => {
    const starts = layout(placed, headerSize);
    const files = placed.map(({ path, bytes, digest }, i) =>
      `${path} ${starts[i] / BLOCK_SIZE} ${bytes.length} ${digest}`
    );
    const text = launcher.replaceAll("@VERSION@", version).replaceAll("@TARGET@", target)
      .replaceAll("@RUNTIME_DIRECTORY@", runtimeDirectory).replaceAll("@PROGRAM_DIRECTORY@", programDirectory)
      .replaceAll("@FILES@", files.join("\n"))
      .replaceAll("@PATHS@", placed.map(({ path }) => path).join(" "))
      .replaceAll("@SIZES@", placed.map(({ path, bytes }) => ` ${bytes.length}:${path}`).join(""));
    return padded(new TextEncoder().encode(text), BLOCK_SIZE, 0x0a);
  };
  const headerSize = roundUp(fill(0).length + 16 * placed.length, BLOCK_SIZE);
  const header = fill(headerSize);
  await writeFile(output, [header, ...placed.map((one) => one.bytes)], [0, ...layout(placed, headerSize)]);
}

/** Paths of all modules below a directory, relative to it. */
function modulePaths(directory: string, below = ""): string[] {
  const paths: string[] = [];
  for (const entry of Deno.readDirSync(`${directory}/${below}`)) {
    const path = below + entry.name;
    if (entry.isDirectory) paths.push(...modulePaths(directory, `${path}/`));
    else paths.push(path);
  }
  return paths;
}

function member(path: string, bytes: Uint8Array): Member {
  return { path, bytes, digest: createHash("sha256").update(bytes).digest("hex") };
}

function shortDigest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** Offset of each member. The runtime, the last, begins at a multiple of the big block: the launcher copies in such. */
function layout(members: Member[], headerSize: number): number[] {
  let at = headerSize;
  return members.map(({ bytes }, i) => {
    const start = roundUp(at, i === members.length - 1 ? BIG_BLOCK_SIZE : BLOCK_SIZE);
    at = start + bytes.length;
    return start;
  });
}

function roundUp(size: number, unit: number): number {
  return Math.ceil(size / unit) * unit;
}

function padded(bytes: Uint8Array, unit: number, filler: number): Uint8Array {
  const whole = new Uint8Array(roundUp(bytes.length, unit)).fill(filler);
  whole.set(bytes);
  return whole;
}

/** Writes parts at their offsets, executable, renamed into place when complete. */
async function writeFile(path: string, parts: Uint8Array[], offsets: number[]): Promise<void> {
  const temporary = `${path}.new-${Deno.pid}`;
  using file = await Deno.open(temporary, { write: true, create: true, truncate: true, mode: 0o755 });
  for (const [i, part] of parts.entries()) {
    await file.seek(offsets[i], Deno.SeekMode.Start);
    for (let written = 0; written < part.length;) written += await file.write(part.subarray(written));
  }
  await Deno.chmod(temporary, 0o755); // whatever the umask
  await Deno.rename(temporary, path);
}

await main(Deno.args);
