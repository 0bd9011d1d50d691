/**
 * git as the judge of what rules mean: a repository with a fixed tree, and `git check-ignore` asked about all of it.
 * @module
 */
import { text, utf8 } from "../../src/base/bytes.ts";
import { pathToBytes } from "../../src/base/path.ts";
import { type TempDirectory, tempDirectory } from "../testing/temp.ts";

/** A path of the tree. */
export interface TreePath {
  path: string;
  isDirectory: boolean;
}

/** What git says of a path. */
export interface GitVerdict {
  isIgnored: boolean;
  /** Line of the rule that decided, from 1; 0 if none did. */
  line: number;
}

/** Names that patterns meet: such as look like parts of patterns, and bytes beyond ASCII. */
const names = ["a", "b", "ab", "a.b", "B", "!a", "#a", "a b", "a ", "é", "[a]", "a*", "\\a", "-", "]"];
const directoryNames = new Set(["a", "b", "ab", "a.b", "é", "[a]"]);

/** A repository whose tree does not change. */
export class GitOracle implements AsyncDisposable {
  readonly paths: readonly TreePath[];
  readonly #directory: TempDirectory;

  private constructor(directory: TempDirectory, paths: TreePath[]) {
    this.#directory = directory;
    this.paths = paths;
  }

  static async open(): Promise<GitOracle> {
    const directory = await tempDirectory();
    await git(directory.path, ["init", "-q", "."]);
    const paths: TreePath[] = [];
    makeLevel(directory.path, "", 3, paths);
    return new GitOracle(directory, paths);
  }

  /** Verdicts by path. */
  async ask(lines: string[]): Promise<Map<string, GitVerdict>> {
    const { path } = this.#directory;
    Deno.writeFileSync(`${path}/.git/info/exclude`, pathToBytes(lines.join("\n") + "\n"));
    const asked = this.paths.map((each) => each.path).join("\0") + "\0";
    const answer = await git(path, ["check-ignore", "-v", "-n", "-z", "--no-index", "--stdin"], asked);
    const fields = answer.split("\0");
    const verdicts = new Map<string, GitVerdict>();
    for (let i = 0; i + 3 < fields.length; i += 4) {
      const [, line, pattern, asked] = fields.slice(i, i + 4);
      const isIgnored = line !== "" && !pattern.startsWith("!");
      verdicts.set(asked, { isIgnored, line: Number(line) });
    }
    return verdicts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]();
  }
}

function makeLevel(root: string, directory: string, depth: number, paths: TreePath[]): void {
  // Deep down fewer names do: a directory's own name has met the patterns above.
  const here = depth === 3 ? names : depth === 2 ? names.slice(0, 11) : names.slice(0, 5);
  for (const name of here) {
    const path = directory === "" ? name : `${directory}/${name}`;
    const isDirectory = depth > 1 && directoryNames.has(name);
    paths.push({ path, isDirectory });
    if (!isDirectory) Deno.writeTextFileSync(`${root}/${path}`, "");
    else {
      Deno.mkdirSync(`${root}/${path}`);
      makeLevel(root, path, depth - 1, paths);
    }
  }
}

async function git(directory: string, args: string[], input = ""): Promise<string> {
  const process = new Deno.Command("git", {
    args: ["-c", "core.excludesFile=/dev/null", "-C", directory, ...args],
    env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = new Blob([utf8(input)]).stream().pipeTo(process.stdin);
  const { code, stdout, stderr } = await process.output();
  await writing;
  // check-ignore says 1 where nothing is ignored.
  if (code > 1) throw new Error(`Cannot ask git: ${text(stderr)}`);
  return text(stdout);
}
