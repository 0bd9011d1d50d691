import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import { parseRule, ruleLine } from "../../src/rules/rule.ts";
import { RuleList } from "../../src/rules/rule_list.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse("2026-01-31T00:00:00Z");

/** A file of `size` bytes that is `days` old. */
function file(size: number, days = 0) {
  return { kind: "file", size, mtimeNs: BigInt(NOW_MS - days * DAY_MS) * 1_000_000n };
}

/** What a list says of paths: `+` included, `~` a passage, `-` left out; a slash behind a path makes it a directory. */
function say(lines: string[], paths: string): string {
  const list = RuleList.parse(lines);
  return paths.split(" ").map((path) => {
    const isDirectory = path.endsWith("/");
    const asked = { isDirectory, facts: isDirectory ? undefined : file(1), nowMs: NOW_MS };
    const { isIncluded, isPassage } = list.verdict(path.replace(/\/$/, ""), asked);
    return `${isIncluded ? "+" : isPassage ? "~" : "-"}${path}`;
  }).join(" ");
}

Deno.test("RuleList: without rules everything is in", () => {
  assertEquals(say([], "/ a b/c d/"), "+/ +a +b/c +d/");
});

Deno.test("RuleList: the last rule that matches decides", () => {
  assertEquals(
    say(["*.log", "!keep.log"], "a.log keep.log d/a.log d/keep.log"),
    "-a.log +keep.log -d/a.log +d/keep.log",
  );
  assertEquals(say(["!keep.log", "*.log"], "keep.log"), "-keep.log");
});

Deno.test("RuleList: a name that is included does not reach into a directory that is left out, as in git", () => {
  assertEquals(say(["cache/", "!*.keep"], "cache/ cache/a.keep a.keep"), "-cache/ -cache/a.keep +a.keep");
});

Deno.test("RuleList: a path that is included later reaches into a directory that is left out", () => {
  assertEquals(
    say(
      ["/*", "!/home/alice/", "/home/alice/tmp"],
      "/ etc/ etc/x home/ home/bob/ home/alice/ home/alice/x home/alice/tmp",
    ),
    "+/ -etc/ -etc/x ~home/ -home/bob/ +home/alice/ +home/alice/x -home/alice/tmp",
  );
  assertEquals(say(["!/a/b", "/a"], "a/ a/b"), "-a/ -a/b");
});

Deno.test("RuleList: the rule / leaves only what is included, wherever it lies", () => {
  assertEquals(
    say(["/", "!/etc", "!*.jpg", "private/"], "/ etc/ etc/x a.jpg d/ d/a.jpg d/a.txt private/ private/a.jpg"),
    "~/ +etc/ +etc/x +a.jpg ~d/ +d/a.jpg -d/a.txt -private/ -private/a.jpg",
  );
  assertEquals(say(["/", "!/etc"], "usr/ etc/ usr/etc"), "-usr/ +etc/ -usr/etc");
  assertEquals(say(["/", "!/a/*/c"], "a/ a/b/ a/b/c a/b/d a/b/c/ b/"), "~a/ ~a/b/ +a/b/c -a/b/d +a/b/c/ -b/");
  assertEquals(say(["/", "!/a/b", "!/"], "x a/b"), "+x +a/b");
});

Deno.test("RuleList: conditions", () => {
  const says = (line: string, path: string, facts = file(0)) =>
    !RuleList.parse([line]).verdict(path, { isDirectory: false, facts, nowMs: NOW_MS }).isIncluded;
  for (
    const [line, path, facts, isMet] of [
      ["size>100M", "a", file(100 * 2 ** 20 + 1), true],
      ["size>100M", "a", file(100 * 2 ** 20), false],
      ["size>=100M", "a", file(100 * 2 ** 20), true],
      ["size<1K", "a", file(1023), true],
      ["size<=1K", "a", file(1025), false],
      ["size=0", "d/a", file(0), true],
      ["size=0", "d/a", file(1), false],
      ["age>30d", "a", file(1, 31), true],
      ["age>30d", "a", file(1, 30), false],
      ["age>=30d", "a", file(1, 30), true],
      ["age<1d", "a", file(1, 0), true],
      ["age<1d", "a", file(1, -5), true],
      ["ext:iso", "d/x.ISO", file(1), true],
      ["ext:iso,tar.gz", "x.tar.gz", file(1), true],
      ["ext:.iso", "x.iso", file(1), true],
      ["ext:iso", "iso", file(1), false],
      ["ext:iso", ".iso", file(1), false],
      ["ext:iso", "x.iso.txt", file(1), false],
      ["size>1 age>1d *.log", "d/x.log", file(2, 2), true],
      ["size>1 age>1d *.log", "d/x.log", file(2, 0), false],
      ["size>1  /logs/**", "logs/d/x", file(2), true],
      ["size>1 /logs/**", "x", file(2), false],
      ["size>1", "a", { kind: "symlink", size: 9, mtimeNs: 0n }, false],
      ["ext:iso", "a.iso", { kind: "symlink", size: 9, mtimeNs: 0n }, true],
      // With a backslash it is a name.
      ["\\size>1", "size>1", file(0), true],
      ["\\size>1", "a", file(9), false],
      ["resize>1", "resize>1", file(0), true],
    ] as const
  ) {
    assertEquals(says(line, path, facts), isMet, `${line} on ${path} ${facts.size} bytes`);
  }
  assertEquals(says("ext:d", "x.d"), true);
  assertEquals(RuleList.parse(["ext:d", "size<1T"]).verdict("x.d", { isDirectory: true }).isIncluded, true);
});

Deno.test("RuleList.changesAtMs() tells when age alone changes the verdict", () => {
  const list = RuleList.parse(["age>30d", "!age>60d *.log", "age<1h tmp"]);
  const at = (path: string, days: number) => {
    const ms = list.changesAtMs(path, file(1, days), NOW_MS);
    return ms === undefined ? undefined : Math.round((ms - NOW_MS) / DAY_MS * 24) / 24;
  };
  assertEquals([at("a", 0), at("a", 29), at("a", 31)], [30, 1, undefined]);
  assertEquals([at("x.log", 31), at("x.log", 61), at("tmp", 0)], [29, undefined, 1 / 24]);
  // At that time the verdict is another one indeed.
  const facts = file(1, 0);
  const changeMs = list.changesAtMs("a", facts, NOW_MS)!;
  const isIncluded = (nowMs: number) => list.verdict("a", { isDirectory: false, facts, nowMs }).isIncluded;
  assertEquals([isIncluded(changeMs - 1), isIncluded(changeMs)], [true, false]);
});

Deno.test("parseRule() names the column of what it cannot read", () => {
  for (
    const [line, message] of [
      [
        "size>100X",
        'Cannot read rule "size>100X": column 6: it must be a number of bytes, or with K, M, G or T behind it as in 64K',
      ],
      [
        "!age>30",
        'Cannot read rule "!age>30": column 6: it must be a whole number with ms, s, m, h or d behind it as in 30s',
      ],
      [
        "size>1K age=3d a",
        'Cannot read rule "size>1K age=3d a": column 12: behind "age" must stand ">", ">=", "<" or "<="',
      ],
      ["size:5", 'Cannot read rule "size:5": column 5: behind "size" must stand ">", ">=", "<", "<=" or "="'],
      ["ext>iso", 'Cannot read rule "ext>iso": column 4: behind "ext" must stand ":"'],
      [
        "ext:a,,b",
        'Cannot read rule "ext:a,,b": column 5: it must be endings with commas between them, as in "jpg,tar.gz"',
      ],
      [
        "size> a",
        'Cannot read rule "size> a": column 6: it must be a number of bytes, or with K, M, G or T behind it as in 64K',
      ],
      [
        "size>1 /logs/",
        'Cannot read rule "size>1 /logs/": column 13: no directory meets a condition; for the files below it, write "/logs/**"',
      ],
      ["a\nb", 'Cannot read rule "a\\nb": column 2: a rule is one line of text'],
    ]
  ) {
    const error = assertThrows(() => parseRule(line), UsageError);
    assertEquals(error.message, message);
  }
});

Deno.test("parseRule() takes comments and empty lines for nothing", () => {
  for (const line of ["", "   ", "# x", "#", "\r"]) assertEquals(parseRule(line), undefined);
  assertEquals(parseRule("a \r")!.text, "a");
  assertEquals(parseRule("a\\ ")!.text, "a\\ ");
});

Deno.test("ruleLine() makes the line of an option", () => {
  assertEquals(ruleLine("/etc", true), "!/etc");
  assertEquals(ruleLine("#a", false), "\\#a");
  assertEquals(ruleLine("#a", true), "!\\#a");
  for (const given of ["!a", "", "  "]) assertThrows(() => ruleLine(given, false), UsageError);
  assertThrows(() => ruleLine("", true), UsageError);
});

Deno.test("RuleList.verdict() is not slow on patterns made to be slow", () => {
  const list = RuleList.parse([
    "*a*a*a*a*a*a*a*a*a*a*a*b",
    "/**/a/**/a/**/a/**/a/**/a/**/b",
    "[a-z]*[a-z]*[a-z]*[a-z]*[0-9]",
  ]);
  const begin = performance.now();
  for (let i = 0; i < 100; i++) list.verdict("a/".repeat(40) + "a".repeat(200) + i, { isDirectory: false });
  const tookMs = performance.now() - begin;
  assert(tookMs < 20_000, `100 verdicts took ${tookMs} ms`);
});
