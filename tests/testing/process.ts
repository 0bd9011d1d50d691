/**
 * Other programs, run to their end or started and watched, always with a deadline and never left behind.
 * @module
 */

/** How {@linkcode runProcess} and {@linkcode startProcess} start a program. */
export interface ProcessOptions {
  /** Added to the environment of the tests, or the whole environment with `clearEnv`. */
  env?: Record<string, string>;
  /** Starts with an empty environment plus `env`. @default {false} */
  clearEnv?: boolean;
  cwd?: string;
}

/** {@linkcode ProcessOptions} of a program that ends by itself. */
export interface RunOptions extends ProcessOptions {
  /** Written to its standard input, which is then closed. @default {""} */
  stdin?: string | Uint8Array;
  /** After this many milliseconds it is killed and the call throws. @default {60_000} */
  timeoutMs?: number;
  /** Throws unless the exit code is this one. By default any code is returned. */
  expectCode?: number;
}

/** What a program that has ended left. */
export interface RunResult {
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs a program to its end.
 *
 * @throws {Error} If it does not end in time, or with another code than `expectCode`; both outputs are in the message.
 */
export async function runProcess(
  command: string,
  args: string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { stdin = "", timeoutMs = 60_000, expectCode } = options;
  await using process = startProcess(command, args, { ...options, pipeStdin: true });
  await process.endInput(stdin);
  const { code, signal } = await process.ended({ timeoutMs });
  const result = { code, signal, stdout: process.stdout, stderr: process.stderr };
  if (expectCode !== undefined && code !== expectCode) {
    throw new Error(`Cannot go on: ${process.describe()} ended with ${code} instead of ${expectCode}`);
  }
  return result;
}

/** Starts a program; dispose of the result to end it. */
export function startProcess(
  command: string,
  args: string[],
  options: ProcessOptions & { pipeStdin?: boolean } = {},
): RunningProcess {
  const child = new Deno.Command(command, {
    args,
    env: options.env,
    clearEnv: options.clearEnv,
    cwd: options.cwd,
    stdin: options.pipeStdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return new RunningProcess(child, [command, ...args].join(" "));
}

/** A program that runs, with its output so far. */
export class RunningProcess implements AsyncDisposable {
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #commandLine: string;
  readonly #finished: Promise<unknown>;
  readonly #waiters = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #searchedTo = 0;
  #status: Deno.CommandStatus | undefined;

  constructor(child: Deno.ChildProcess, commandLine: string) {
    this.pid = child.pid;
    this.#child = child;
    this.#commandLine = commandLine;
    this.#finished = Promise.all([
      collect(child.stdout, (text) => this.#changed(() => this.#stdout += text)),
      collect(child.stderr, (text) => this.#changed(() => this.#stderr += text)),
      child.status.then((status) => this.#changed(() => this.#status = status)),
    ]);
  }

  /** Standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** Standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Whether it has not ended yet. */
  get running(): boolean {
    return this.#status === undefined;
  }

  /**
   * Waits for the next line on standard output that contains `wanted` or matches it, and returns that line. Later
   * calls look only at later lines.
   *
   * @throws {Error} If none comes within `timeoutMs` (default 30,000), or the program ends before.
   */
  async waitForLine(wanted: string | RegExp, { timeoutMs = 30_000 } = {}): Promise<string> {
    const matches = (line: string) => typeof wanted === "string" ? line.includes(wanted) : wanted.test(line);
    const deadline = Date.now() + timeoutMs;
    while (true) {
      for (let end; (end = this.#stdout.indexOf("\n", this.#searchedTo)) >= 0;) {
        const line = this.#stdout.slice(this.#searchedTo, end);
        this.#searchedTo = end + 1;
        if (matches(line)) return line;
      }
      if (!this.running) await this.#finished;
      if (!this.running && this.#stdout.indexOf("\n", this.#searchedTo) < 0) {
        throw new Error(`Cannot wait for line ${wanted}: ${this.describe()} has ended`);
      }
      if (Date.now() >= deadline) {
        throw new Error(`Cannot wait for line ${wanted}: none in ${timeoutMs} ms from ${this.describe()}`);
      }
      await this.#change(deadline);
    }
  }

  /** Sends a signal. Nothing happens if the program has ended. */
  kill(signal: Deno.Signal = "SIGTERM"): void {
    try {
      if (this.running) this.#child.kill(signal);
    } catch (error) {
      // It may end between the question and the signal.
      if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
    }
  }

  /**
   * Waits until the program has ended and all its output was read.
   *
   * @throws {Error} If that takes longer than `timeoutMs` (default 30,000); the program is killed then.
   */
  async ended({ timeoutMs = 30_000 } = {}): Promise<Deno.CommandStatus> {
    const deadline = Date.now() + timeoutMs;
    while (this.running && Date.now() < deadline) await this.#change(deadline);
    if (this.running) {
      this.kill("SIGKILL");
      await this.#finished;
      throw new Error(`Cannot wait for the end of ${this.describe()}: still running after ${timeoutMs} ms`);
    }
    await this.#finished;
    return this.#status!;
  }

  /** Writes all of standard input and closes it. Needs `pipeStdin`. */
  async endInput(input: string | Uint8Array): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    try {
      await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : new Uint8Array(input));
      await writer.close();
    } catch (error) {
      // A program need not read what it is given.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  }

  /** The command line, the state and both outputs, for error messages. */
  describe(): string {
    const state = this.running ? "running" : `exit code ${this.#status!.code}`;
    return `\`${this.#commandLine}\` (${state})\n--- stdout\n${this.#stdout.slice(-4000)}\n` +
      `--- stderr\n${this.#stderr.slice(-4000)}\n---`;
  }

  /** Ends the program: asks, and kills it when it has not ended 5 s later. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGTERM");
    this.kill("SIGCONT"); // a stopped program hears nothing else
    const deadline = Date.now() + 5_000;
    while (this.running && Date.now() < deadline) await this.#change(deadline);
    this.kill("SIGKILL");
    await this.#finished;
  }

  #changed(change: () => void): void {
    change();
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }

  /** Resolves at the next output or end, or at the deadline. */
  #change(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, deadline - Date.now()));
      this.#waiters.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

async function collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) add(decoder.decode(chunk, { stream: true }));
}
