/**
 * Where a Worker's module and the program itself are found, in each form in which the program runs:
 *
 * ```text
 * form                  modules                                 this module's address ends in
 * deno run, deno test   ROOT/src/target/apply_worker.ts         /src/base/workers.ts
 * deno compile          the same paths inside the executable    /src/base/workers.ts
 * self-extracting file  PROGRAM/src/target/apply_worker.js      /main.js, /chunk-X.js or /src/…_worker.js
 * ```
 *
 * scripts/compile.sh packs every module under `src/` whose name ends in `_worker.ts`, so a new Worker needs no
 * entry in any list.
 * @module
 */

/** The name that the launcher of the self-extracting file gives to that file's path. */
const EXECUTABLE_VARIABLE = "UNDERSTUDY_EXECUTABLE";

/** A Worker's module: its path from the root of the project. */
export type WorkerModule = `src/${string}_worker.ts`;

/**
 * The address to start a Worker from.
 *
 * ```ts ignore
 * new Worker(workerUrl("src/target/apply_worker.ts"), { type: "module" });
 * ```
 */
export function workerUrl(module: WorkerModule): URL {
  return resolveWorkerUrl(module, import.meta.url);
}

/** {@linkcode workerUrl} as seen from the address `self` of this module, bundled or not. */
export function resolveWorkerUrl(module: WorkerModule, self: string): URL {
  if (self.endsWith("/src/base/workers.ts")) return new URL(`../../${module}`, self);
  // Bundled into a Worker's own module when no other entry shares it, else beside main.js.
  const root = self.replace(/(?:\/src(?:\/[a-z_]+)*\/[a-z_]+_worker|\/[^/]+)\.js$/, "/");
  return new URL(module.replace(/\.ts$/, ".js"), root);
}

/**
 * The command that starts this program again, to be followed by the arguments of understudy itself. Needed because
 * `Deno.execPath()` names the bare runtime unless the program was built by `deno compile`.
 */
export function selfCommand(): { command: string; args: string[] } {
  const executable = Deno.env.get(EXECUTABLE_VARIABLE);
  if (executable !== undefined) return { command: executable, args: [] };
  if (Deno.build.standalone) return { command: Deno.execPath(), args: [] };
  return { command: Deno.execPath(), args: ["run", "--allow-all", "--no-prompt", Deno.mainModule] };
}
