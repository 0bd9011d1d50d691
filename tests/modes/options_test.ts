import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import {
  address,
  duration,
  flag,
  many,
  nonEmpty,
  one,
  parseArguments,
  setName,
  size,
  word,
} from "../../src/modes/options.ts";

const spec = {
  command: "test",
  options: {
    json: flag("j"),
    to: many(nonEmpty, "t"),
    state: one(nonEmpty, "s"),
    block: one(size({ min: 512, max: 65_536, powerOfTwo: true })),
    window: one(size({ min: 1024, max: 1_048_576 })),
    timeout: one(duration({ min: 1, max: 60_000 })),
    commit: one(word(["ack"], ["real"])),
    http: one(address()),
    "set-name": one(setName),
  },
  positionals: ["DIR", "[OTHER]"],
  later: ["include"],
};

const parse = (...args: string[]) => parseArguments(args, spec);

Deno.test("parseArguments() reads each form of an option", () => {
  const forms = [["--state", "x"], ["--state=x"], ["-s", "x"], ["-sx"], ["-s=x"]];
  for (const form of forms) assertEquals(parse("d", ...form).options.state, "x", form.join(" "));
  assertEquals(parse("d", "--json").options.json, true);
  assertEquals(parse("-j", "d").options.json, true);
  assertEquals(parse("d").options, {
    json: false,
    to: [],
    state: undefined,
    block: undefined,
    window: undefined,
    timeout: undefined,
    commit: undefined,
    http: undefined,
    "set-name": undefined,
  });
});

Deno.test("parseArguments() collects a repeatable option in order", () => {
  assertEquals(parse("--to", "a", "d", "-tb", "--to=c").options.to, ["a", "b", "c"]);
});

Deno.test("parseArguments() takes odd but proper values", () => {
  assertEquals(parse("d", "--state=-x=y\n").options.state, "-x=y\n");
  assertEquals(parse("d", "--state", "-").options.state, "-");
  assertEquals(parse("-").positionals, ["-"]);
  assertEquals(parse("true", "false").positionals, ["true", "false"]);
  assertEquals(parse("--json", "true").positionals, ["true"]);
  assertEquals(parse("--", "--json", "--").positionals, ["--json", "--"]);
});

Deno.test("parseArguments() refuses, naming it, whatever it does not understand", () => {
  const table: [args: string[], message: string][] = [
    [["d", "--jsn"], `Cannot use --jsn: "test" has no such option; did you mean --json`],
    [["d", "--xyzzy"], `Cannot use --xyzzy: "test" has no such option; see "understudy help test"`],
    [["d", "--xyzzy=1"], `Cannot use --xyzzy: "test" has no such option; see "understudy help test"`],
    [
      ["d", "--constructor"],
      `Cannot use --constructor: "test" has no such option; see "understudy help test"`,
    ],
    [["d", "--__proto__=1"], `Cannot use --__proto__: "test" has no such option; see "understudy help test"`],
    [["d", "-x"], `Cannot use -x: "test" has no such option; see "understudy help test"`],
    [["d", "-state", "x"], "Cannot use -state: did you mean --state"],
    [["d", "-state=x"], "Cannot use -state=x: did you mean --state=x"],
    [["d", "--=x"], `Cannot use --: "test" has no such option; see "understudy help test"`],
    [["d", "--include", "x"], "Cannot use --include: not in this version"],
    [["d", "--state"], "Cannot use --state: its value is missing"],
    [["d", "-s"], "Cannot use -s: its value is missing"],
    [["d", "--state", "--json"], "Cannot use --state: its value is missing"],
    [["d", "--state", "--"], "Cannot use --state: its value is missing"],
    [["d", "--state="], `Cannot use --state "": it must not be empty`],
    [["d", "--state", ""], `Cannot use --state "": it must not be empty`],
    [["d", "--to", "a", "--to", ""], `Cannot use --to "": it must not be empty`],
    [
      ["d", "--set-name", "a/b"],
      `Cannot use --set-name "a/b": it must be 1 to 64 letters, digits, ".", "_" or "-" ` +
      `and not begin with "." or "-"`,
    ],
    [["d", "--state", "a", "-s", "b"], "Cannot use --state: it is given twice"],
    [["d", "--json", "--json"], "Cannot use --json: it is given twice"],
    [["d", "--json=true"], `Cannot use --json: it takes no value, but "true" is given`],
    [["d", "-jx"], `Cannot use -j: it takes no value, but "x" is given`],
    [["d", "-j="], `Cannot use -j: it takes no value, but "" is given`],
    [[], `Cannot run "test": DIR is missing; see "understudy help test"`],
    [["d", "e", "f"], `Cannot run "test": "f" is one argument too many`],
    [[""], `Cannot run "test": DIR is empty`],
    [["d", "--block", "1000"], `Cannot use --block "1000": it must be a power of two from 512 to 64K`],
    [["d", "--block", "256"], `Cannot use --block "256": it must be a power of two from 512 to 64K`],
    [["d", "--block", "128K"], `Cannot use --block "128K": it must be a power of two from 512 to 64K`],
    [["d", "--block", "0"], `Cannot use --block "0": it must be a power of two from 512 to 64K`],
    [["d", "--window", "1023"], `Cannot use --window "1023": it must be a size from 1K to 1M`],
    [["d", "--window", "1048577"], `Cannot use --window "1048577": it must be a size from 1K to 1M`],
    [
      ["d", "--window", "x"],
      `Cannot use --window "x": it must be a number of bytes, or with K, M, G or T behind it as in 64K`,
    ],
    [["d", "--timeout", "0s"], `Cannot use --timeout "0s": it must be a duration from 1ms to 1m`],
    [["d", "--timeout", "61s"], `Cannot use --timeout "61s": it must be a duration from 1ms to 1m`],
    [
      ["d", "--timeout", "5"],
      `Cannot use --timeout "5": it must be a whole number with ms, s, m, h or d behind it as in 30s`,
    ],
    [["d", "--commit", "real"], `Cannot use --commit "real": not in this version; it can be ack`],
    [["d", "--commit", "x"], `Cannot use --commit "x": it must be one of ack`],
    [["d", "--http", "h"], `Cannot use --http "h": the port is missing`],
  ];
  for (const [args, message] of table) {
    assertEquals(assertThrows(() => parse(...args), UsageError).message, message);
  }
});

Deno.test("parseArguments() takes values at both ends of their range", () => {
  const { options } = parse("d", "--block", "512", "--window", "1M", "--timeout", "1ms");
  assertEquals([options.block, options.window, options.timeout], [512, 1_048_576, 1]);
  assertEquals(parse("d", "--block", "64K", "--window", "1K", "--timeout", "1m").options.timeout, 60_000);
});
