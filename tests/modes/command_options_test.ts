import { assertEquals, assertThrows } from "@std/assert";
import { resolve } from "node:path";
import { UsageError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { parseMirrorOptions } from "../../src/modes/mirror_options.ts";
import { parseRestoreOptions } from "../../src/modes/restore_options.ts";
import { parseServeTargetOptions } from "../../src/modes/serve_target_options.ts";
import { usualThresholds } from "../../src/source/mass_guard.ts";
import { parseWatchSourceOptions } from "../../src/modes/watch_source_options.ts";
import { testIo } from "../testing/test_io.ts";

const io = testIo({ env: { HOME: "/home/a" } });
import { tempDirectory } from "../testing/temp.ts";

const serveTarget = (...args: string[]) => parseServeTargetOptions(args);
const watchSource = (...args: string[]) => parseWatchSourceOptions(args, io);
const mirror = (...args: string[]) => parseMirrorOptions(args, io);
const restore = (...args: string[]) => parseRestoreOptions(args, io);

const transferDefaults = {
  state: undefined,
  name: undefined,
  compress: "zstd",
  cipher: "chacha20-poly1305",
  blockSize: limits.blockSize,
  fastMirrorSizeMin: limits.fastMirrorSizeMin,
  limitRate: undefined,
  json: false,
} as const;

Deno.test("parseServeTargetOptions() fills in defaults and reads everything", () => {
  assertEquals(serveTarget("--root", "r"), {
    root: resolve("r"),
    listen: { hostname: "0.0.0.0", port: 7420 },
    openFiles: "replace",
    owners: "number",
    http: undefined,
    state: undefined,
    json: false,
  });
  assertEquals(
    serveTarget(
      "--root",
      "/r",
      "--listen",
      "[::]:0",
      "--http",
      ":8080",
      "--state",
      "/s",
      "--json",
      "--owners=name",
    ),
    {
      root: "/r",
      listen: { hostname: "::", port: 0 },
      openFiles: "replace",
      owners: "name",
      http: { hostname: "127.0.0.1", port: 8080 },
      state: "/s",
      json: true,
    },
  );
  assertEquals(serveTarget("--root", "/r", "--listen", "10.0.0.1").listen.port, 7420);
  assertEquals(serveTarget("--root", "/r", "--listen", ":1").listen, { hostname: "0.0.0.0", port: 1 });
});

Deno.test("parseServeTargetOptions() refuses what cannot be used", () => {
  assertThrows(() => serveTarget(), UsageError, "--root DIR is missing");
  assertThrows(() => serveTarget("--root", "/r", "x"), UsageError, `"x" is one argument too many`);
  assertThrows(() => serveTarget("--root", "/r", "--http", "h"), UsageError, "the port is missing");
  assertThrows(() => serveTarget("--root", "/r", "--listen", "h:99999"), UsageError, "from 0 to 65535");
});

const accountDefaults = { extraUsers: [], withPasswords: false, tellsAccounts: true };

Deno.test("parseWatchSourceOptions() fills in defaults and reads everything", () => {
  assertEquals(watchSource("d", "--to", "~/replica"), {
    ...transferDefaults,
    root: resolve("d"),
    targets: [{ kind: "directory", path: "/home/a/replica" }],
    commit: undefined,
    intercept: "auto",
    windowBytes: limits.windowBytes,
    onUnreachable: "degrade",
    orderedBytes: 0,
    sendWhen: undefined,
    openFiles: "replace",
    failback: false,
    dryRun: false,
    keepAside: undefined,
    nice: 5,
    guards: usualThresholds,
    http: undefined,
    patrol: { everyMs: 24 * 3_600_000, rateBytes: 8 * 1024 ** 2, foreign: "repair" },
    given: [],
    oneFileSystem: false,
    ...accountDefaults,
  });
  const everything = [
    ["--extra-users", "anna,bert", "--extra-users=anna", "--with-passwords", "--no-accounts"],
    ["--one-file-system", "--include", "/etc", "-x", "#a", "--exclude=size>1K /b/**", "-i", "c/"],
    ["--to", "backup/www", "-t", "us1-x", "--name", "set", "--commit", "local", "--intercept", "inotify"],
    ["--compress", "brotli", "--cipher", "none", "--window-bytes", "64M", "--block-size", "512"],
    [
      "--fast-mirror-min",
      "0",
      "--on-unreachable",
      "fail",
      "--ordered=1G",
      "--limit-rate",
      "10M",
      "--send-when=age=30s,window=22:00-06:00",
      "--state",
      "/s",
      "--nice",
      "19",
      "--verify-every",
      "off",
      "--verify-rate",
      "1M",
      "--foreign",
      "report",
      "--guard-deletes",
      "30%",
      "--guard-rewrites=off",
      "--http",
      ":0",
      "--json",
      "/d",
    ],
  ].flat();
  assertEquals(watchSource(...everything), {
    extraUsers: ["anna", "bert"],
    withPasswords: false,
    tellsAccounts: false,
    state: "/s",
    name: "set",
    compress: "brotli",
    cipher: "none",
    blockSize: 512,
    fastMirrorSizeMin: 0,
    json: true,
    root: "/d",
    targets: [
      { kind: "server", hostname: "backup", port: 7420, name: "www" },
      { kind: "token", token: "us1-x" },
    ],
    commit: "local",
    intercept: "inotify",
    windowBytes: 64 * 1024 * 1024,
    onUnreachable: "fail",
    orderedBytes: 1024 ** 3,
    limitRate: 10 * 1024 ** 2,
    sendWhen: "age=30s,window=22:00-06:00",
    openFiles: "replace",
    failback: false,
    dryRun: false,
    keepAside: undefined,
    nice: 19,
    patrol: { everyMs: undefined, rateBytes: 1024 ** 2, foreign: "report" },
    guards: { deletions: { count: 1, share: 0.3 }, rewrites: undefined },
    http: { hostname: "127.0.0.1", port: 0 },
    given: ["/", "!/etc", "\\#a", "size>1K /b/**", "!c/"].map((text) => ({ text, origin: "command line" })),
    oneFileSystem: true,
  });
});

Deno.test("rules come in the order in which they are given, and from files", async () => {
  await using directory = await tempDirectory();
  const file = `${directory.path}/rules`;
  Deno.writeTextFileSync(file, "# why\n!a\n");
  const texts = (...args: string[]) => mirror("d", "/r", ...args).given.map(({ text }) => text);
  assertEquals(texts("-x", "*.o", "--set", file, "-i", "b"), ["*.o", "# why", "!a", "!b"]);
  assertEquals(texts("-i", "b", "-x", "*.o"), ["/", "!b", "*.o"]);
  assertEquals(mirror("d", "/r", "--set", file).given[1], { text: "!a", origin: `file "${file}"` });
  for (
    const [rule, reason] of [["size>x", "column 6"], ["!a", "there is --include"], ["  ", "it is empty"]]
  ) {
    assertThrows(() => mirror("d", "/r", "-x", rule), UsageError, reason);
  }
  assertThrows(() => mirror("d", "/r", "--set", "/nix"), UsageError, "there is no such file");
  assertThrows(() => mirror("d", "/r", "--set", directory.path), UsageError, "EISDIR");
});

Deno.test("parseWatchSourceOptions() refuses what this version cannot do, and never ignores it", () => {
  const later = [
    ["--commit", "remote"],
    ["--intercept", "fuse"],
  ];
  for (const option of later) {
    assertThrows(
      () => watchSource("d", "--to", "/r", ...option),
      UsageError,
      "not in this version",
      option.join(" "),
    );
  }
});

Deno.test("parseWatchSourceOptions() refuses missing and doubled targets and sizes out of range", () => {
  assertThrows(() => watchSource("d"), UsageError, "--to TARGET is missing");
  assertThrows(() => watchSource("--to", "/r"), UsageError, "DIR is missing");
  assertThrows(
    () => watchSource("d", "--to", "/r", "--to", "/r/"),
    UsageError,
    `--to "/r": it is given twice`,
  );
  assertThrows(() => watchSource("d", "--to", "h/n", "--to", "h:7420/n"), UsageError, "it is given twice");
  assertThrows(() => watchSource("d", "--to", "replica"), UsageError, `Cannot use target "replica"`);
  assertThrows(() => watchSource("d", "--to", "/r", "--window-bytes", "1M"), UsageError, "from 2M to 1G");
  assertThrows(() => watchSource("d", "--to", "/r", "--nice", "-1"), UsageError);
  assertThrows(() => watchSource("d", "--to", "/r", "--nice", "20"), UsageError, "from 0 to 19");
  assertThrows(() => watchSource("d", "--to", "/r", "--verify-every", "1ms"), UsageError, "from 1s to");
  assertThrows(() => watchSource("d", "--to", "/r", "--verify-rate", "0"), UsageError, "1 or more");
  assertThrows(
    () => watchSource("d", "--to", "/r", "--intercept", "x"),
    UsageError,
    "auto, watchfs, inotify",
  );
  assertThrows(
    () => watchSource("d", "--to", "/r", "--compress", "gzip"),
    UsageError,
    "zstd, deflate, brotli, none",
  );
  assertThrows(() => watchSource("d", "--to", "/r", "--cipher", "rot13"), UsageError, "it must be one of");
});

Deno.test("parseMirrorOptions() fills in defaults and reads everything", () => {
  assertEquals(mirror("d", "/r"), {
    ...transferDefaults,
    root: resolve("d"),
    target: { kind: "directory", path: "/r" },
    dryRun: false,
    delete: true,
    guardDeletes: usualThresholds.deletions,
    full: false,
    progress: false,
    given: [],
    oneFileSystem: false,
    deleteExcluded: false,
    openFiles: "replace",
    content: false,
    ...accountDefaults,
  });
  assertEquals(mirror("d", "/r", "--force-delete").guardDeletes, undefined);
  assertEquals(mirror("d", "/r", "--guard-deletes", "1000").guardDeletes, { count: 1_000, share: 0 });
  for (const wrong of ["0", "0%", "101%", "x", "5k", ""]) {
    assertThrows(() => mirror("d", "/r", "--guard-deletes", wrong), UsageError, "--guard-deletes");
  }
  const { dryRun, delete: deletes, full, progress, blockSize } = mirror(
    ...["d", "/r", "-n", "--no-delete", "--full", "--progress", "--block-size", "64K"],
  );
  assertEquals([dryRun, deletes, full, progress, blockSize], [true, false, true, true, 65_536]);
  assertThrows(() => mirror("d"), UsageError, "TARGET is missing");
  assertThrows(() => mirror("d", "/r", "/s"), UsageError, `"/s" is one argument too many`);
  assertThrows(() => mirror("d", "/r", "--no-deletes"), UsageError, "did you mean --no-delete");
});

Deno.test("parseRestoreOptions() fills in defaults and reads everything", () => {
  assertEquals(restore("h/n", "d"), {
    ...transferDefaults,
    target: { kind: "server", hostname: "h", port: 7420, name: "n" },
    directory: resolve("d"),
    paths: [],
    overwrite: "older",
    delete: false,
    dryRun: false,
    progress: false,
    accounts: false,
    owners: "number",
    force: false,
    given: [],
  });
  const { accounts, owners, force } = restore("/r", "d", "--accounts", "--force", "--owners", "name");
  assertEquals({ accounts, owners, force }, { accounts: true, owners: "name", force: true });
  const read = restore(
    "h/n",
    "d",
    "-p",
    "./a/b/",
    "--path=c",
    "--overwrite",
    "none",
    "--delete",
    "--dry-run",
  );
  assertEquals([read.paths, read.overwrite, read.delete, read.dryRun], [["a/b", "c"], "none", true, true]);
});

Deno.test("parseRestoreOptions() refuses paths that leave the replica and what this version cannot do", () => {
  for (const path of ["/etc", "..", "a/../b", "a//b", "a/./b", "./../x", "a\0b"]) {
    assertThrows(
      () => restore("/r", "d", `--path=${path}`),
      UsageError,
      "must be relative to the replica",
      path,
    );
  }
  for (const path of ["./", "/", "."]) {
    assertThrows(() => restore("/r", "d", `--path=${path}`), UsageError, "--path");
  }
  assertThrows(() => restore("/r", "d", "--path="), UsageError, "must not be empty");
  assertThrows(() => restore("/r", "d", "--overwrite", "newer"), UsageError, "older, all, none");
  assertThrows(() => restore("/r", "d", "--at", "5m"), UsageError, "Cannot use --at: not in this version");
  const inTheClear = ["--with-passwords", "--cipher", "none"];
  assertThrows(() => watchSource("d", "--to", "/r", ...inTheClear), UsageError, "could read them");
  assertThrows(() => mirror("d", "/r", ...inTheClear), UsageError, "could read them");
  assertThrows(() => restore("/r", "d", "--accounts", "--cipher=none"), UsageError, "could read passwords");
  assertEquals(watchSource("d", "--to", "/r", "--with-passwords").withPasswords, true);
  assertThrows(() => restore("/r", "d", "--force"), UsageError, "it says how --accounts are rebuilt");
  assertThrows(() => watchSource("d", "--to", "/r", "--extra-users", "a,-b"), UsageError, '"-b" is no name');
});
