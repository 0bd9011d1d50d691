/**
 * Understudy itself, as its users run it: the built executable, built at most once and again only when a source changed.
 *
 * - `UNDERSTUDY_BIN=FILE` tests that file instead.
 * - `UNDERSTUDY_TEST_SOURCE=1` runs `main.ts` without building: quick while one works on it.
 *
 * ```text
 * .build/lock                  held exclusively while one process builds
 * .build/DIGEST/understudy     the executable, built from sources of that digest
 * .build/cache/                where it unpacks itself
 * ```
 * @module
 */
import { createHash } from "node:crypto";
import {
  type ProcessOptions,
  type RunningProcess,
  type RunOptions,
  runProcess,
  type RunResult,
  startProcess,
} from "./process.ts";

/** The checkout's directory, without a slash at the end. */
export const projectRoot: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const buildDirectory = `${projectRoot}/.build`;

/** So many executables are kept: a test run that began before a source changed goes on with its own. */
const EXECUTABLES_KEPT_MAX = 5;

/** Everything that the executable is made of. */
const sources = ["main.ts", "deno.json", "deno.lock", "src", "scripts"];

/** The program to start, what comes before its own arguments, and the environment it needs. */
export interface Command {
  command: string;
  args: string[];
  env: Record<string, string>;
}

let built: Promise<string> | undefined;
let standIn: string | undefined;

/** Puts another program in the place of the executable, in this file of tests, until the result is disposed. */
export function replaceExecutable(path: string): Disposable {
  standIn = path;
  return { [Symbol.dispose]: () => void (standIn = undefined) };
}

/** The path of the executable, which is built first if it is missing or older than the sources. */
export function executable(): Promise<string> {
  const given = standIn ?? Deno.env.get("UNDERSTUDY_BIN");
  if (given) return Promise.resolve(given);
  return built ??= buildOnce();
}

/** How to run Understudy in this test run: see the module's text. */
export async function understudyCommand(): Promise<Command> {
  if (standIn === undefined && Deno.env.get("UNDERSTUDY_TEST_SOURCE") === "1") {
    const args = ["run", "--quiet", "--allow-all", "--no-prompt", `${projectRoot}/main.ts`];
    return { command: Deno.execPath(), args, env: {} };
  }
  const env = { UNDERSTUDY_CACHE_DIR: `${buildDirectory}/cache/understudy` };
  return { command: await executable(), args: [], env };
}

/** Runs Understudy to its end. Any exit code is returned; see {@linkcode runProcess}. */
export async function run(args: string[], options: RunOptions = {}): Promise<RunResult> {
  const { command, args: before, env } = await understudyCommand();
  return await runProcess(command, [...before, ...args], { ...options, env: { ...env, ...options.env } });
}

/** Starts Understudy, for example `watch-source`; dispose of the result to end it. */
export async function start(args: string[], options: ProcessOptions = {}): Promise<RunningProcess> {
  const { command, args: before, env } = await understudyCommand();
  return startProcess(command, [...before, ...args], { ...options, env: { ...env, ...options.env } });
}

/** A target server that listens, and what a source needs to know of it. */
export interface TargetServer extends AsyncDisposable {
  process: RunningProcess;
  /** `HOST:PORT` that it listens on. */
  address: string;
  /** Makes a join token for the replica `name`. `address` replaces the server's own, for a proxy before it. */
  invite(name: string, address?: string): Promise<string>;
}

/** Starts `serve-target` on a free port of 127.0.0.1 and waits until it listens. */
export async function startTarget(
  root: string,
  options: ProcessOptions & { args?: string[]; listen?: string } = {},
): Promise<TargetServer> {
  const { args = [], listen = "127.0.0.1:0" } = options;
  const process = await start(["serve-target", "--root", root, "--listen", listen, ...args], options);
  try {
    const line = await process.waitForLine(/^listening /);
    const address = line.replace(/^listening /, "").trim();
    return {
      process,
      address,
      async invite(name, publicAddress = address) {
        const invitation = ["invite", name, "--root", root, "--address", publicAddress];
        return (await run(invitation, { ...options, expectCode: 0 })).stdout.trim();
      },
      [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
    };
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

/** Builds unless there is one made of just these sources. One process builds, the others wait for it. */
async function buildOnce(): Promise<string> {
  await Deno.mkdir(buildDirectory, { recursive: true });
  using lock = await Deno.open(`${buildDirectory}/lock`, { create: true, write: true });
  await lock.lock(true);
  const digest = await digestOf(sources.map((path) => `${projectRoot}/${path}`));
  const directory = `${buildDirectory}/${digest}`;
  const file = `${directory}/understudy`;
  if (!await isFile(file)) {
    const script = `${projectRoot}/scripts/compile.sh`;
    const env = { DENO: Deno.execPath() };
    await runProcess("bash", [script, "--output", file], { env, expectCode: 0, timeoutMs: 300_000 });
  }
  await Deno.utime(directory, new Date(), new Date());
  await removeOldExecutables();
  return file;
}

/** Removes all but those used last. */
async function removeOldExecutables(): Promise<void> {
  const found: { path: string; usedAt: number }[] = [];
  for await (const entry of Deno.readDir(buildDirectory)) {
    if (!/^[0-9a-f]{16}$/.test(entry.name)) continue;
    const path = `${buildDirectory}/${entry.name}`;
    found.push({ path, usedAt: (await Deno.stat(path)).mtime!.getTime() });
  }
  found.sort((a, b) => b.usedAt - a.usedAt);
  for (const { path } of found.slice(EXECUTABLES_KEPT_MAX)) await Deno.remove(path, { recursive: true });
}

/** Sixteen hexadecimal digits that change when any of the files does. */
async function digestOf(paths: string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) await addToDigest(path);
  return hash.digest("hex").slice(0, 16);

  async function addToDigest(path: string): Promise<void> {
    const stat = await Deno.stat(path).catch(() => undefined);
    if (stat?.isDirectory) {
      const names = Array.from(Deno.readDirSync(path), (entry) => entry.name).sort();
      for (const name of names) await addToDigest(`${path}/${name}`);
    } else if (stat) {
      hash.update(`${path}\0${stat.size}\0`).update(await Deno.readFile(path));
    }
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await Deno.stat(path).catch(() => undefined))?.isFile ?? false;
}
