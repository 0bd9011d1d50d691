/**
 * Machines that differ in their accounts: programs run in a mount namespace of their own, in which `/etc` is a copy. The
 * real `/etc` is never touched, and two machines know nothing of each other's users.
 * @module
 */
import {
  type ProcessOptions,
  type RunningProcess,
  type RunOptions,
  runProcess,
  type RunResult,
  startProcess,
} from "./process.ts";
import { understudyCommand } from "./understudy.ts";

/** Enters the machine whose `/etc` is `$0`, and becomes the program. */
const ENTER = 'mount --bind "$0" /etc && exec "$@"';

/** What a test with machines needs. */
export const machineNeeds = [
  "linux",
  "root",
  "command unshare",
  "command useradd",
  "command su",
  "command setfacl",
] as const;

/** One machine. */
export class Machine {
  /** Its `/etc`. */
  readonly etc: string;

  private constructor(etc: string) {
    this.etc = etc;
  }

  /** Makes a machine with the accounts that this one has. @param etc Does not exist yet. */
  static async make(etc: string): Promise<Machine> {
    await runProcess("cp", ["-a", "/etc", etc], { expectCode: 0 });
    return new Machine(etc);
  }

  /** Runs a shell script in it and returns what it prints. @throws {Error} Unless it ends well. */
  async shell(script: string): Promise<string> {
    return (await this.run("sh", ["-ec", script], { expectCode: 0 })).stdout;
  }

  /** Runs a program in it. */
  run(command: string, args: string[], options: RunOptions = {}): Promise<RunResult> {
    return runProcess("unshare", ["-m", "sh", "-ec", ENTER, this.etc, command, ...args], options);
  }

  /** Runs Understudy in it. Any exit code is returned, unless `expectCode` says otherwise. */
  async understudy(args: string[], options: RunOptions = {}): Promise<RunResult> {
    const { command, args: before, env } = await understudyCommand();
    return await this.run(command, [...before, ...args], { timeoutMs: 120_000, ...options, env });
  }

  /** Starts Understudy in it; dispose of the result to end it. */
  async start(args: string[], options: ProcessOptions = {}): Promise<RunningProcess> {
    const { command, args: before, env } = await understudyCommand();
    const all = ["-m", "sh", "-ec", ENTER, this.etc, command, ...before, ...args];
    return startProcess("unshare", all, { ...options, env });
  }
}
