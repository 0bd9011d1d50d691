/**
 * What a test needs of the machine, so that it is left out with its reason where that is missing, and never in CI.
 * @module
 */
import { accessSync, constants } from "node:fs";

/** Something that not every machine has. A command is named by itself. */
export type Need = "linux" | "root" | "network namespaces" | "loop devices" | `command ${string}`;

/**
 * Whether the machine lacks any of `needs`. Prints what is missing.
 *
 * ```ts ignore
 * Deno.test({ name: "…", ignore: lacks("root", "command rsync"), fn() {} });
 * ```
 *
 * @throws {Error} In CI (`CI=true`), where nothing may be missing.
 */
export function lacks(...needs: Need[]): boolean {
  const missing = needs.filter((need) => !has(need));
  if (missing.length === 0) return false;
  const message = `Cannot run a test: this machine lacks ${missing.join(", ")}`;
  if (Deno.env.get("CI") === "true") throw new Error(message);
  console.log(`ignored below: ${message}`);
  return true;
}

function has(need: Need): boolean {
  if (need === "linux") return Deno.build.os === "linux";
  if (need === "root") return Deno.uid() === 0;
  if (need === "network namespaces") return succeeds("unshare", ["-n", "true"]);
  if (need === "loop devices") return succeeds("losetup", ["-f"]);
  return commandPath(need.slice("command ".length)) !== undefined;
}

function succeeds(command: string, args: string[]): boolean {
  if (!commandPath(command)) return false;
  return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
}

/** The watching interceptors that a test can use here: `fanotify` is for root only. */
export function watchingInterceptors(): string[] {
  return lacks("linux", "root") ? ["inotify", "watchfs"] : ["fanotify", "inotify", "watchfs"];
}

/** Those of them that lose nothing. */
export function losslessInterceptors(): string[] {
  return watchingInterceptors().filter((name) => name !== "watchfs");
}

/** Where a command is, as a shell would find it, the system's own directories included. */
export function commandPath(name: string): string | undefined {
  const directories = `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`.split(":");
  return directories.filter((directory) => directory !== "").map((directory) => `${directory}/${name}`)
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
