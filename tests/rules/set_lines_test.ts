import { assertEquals, assertThrows } from "@std/assert";
import { utf8 } from "../../src/base/bytes.ts";
import { CommandError, UsageError } from "../../src/base/errors.ts";
import {
  changedLines,
  exchangeGiven,
  formatRuleFile,
  parseRuleFile,
  placedRules,
  type SetLine,
} from "../../src/rules/set_lines.ts";

function given(...texts: string[]): SetLine[] {
  return texts.map((text) => ({ text, origin: "command line", isGiven: true }));
}

function texts(lines: SetLine[]): string[] {
  return lines.map(({ text }) => text);
}

Deno.test("changedLines() adds behind the others and removes every line of a rule", () => {
  const lines = changedLines(given("# why", "*.log", "a"), { kind: "add", rule: "!keep.log" });
  assertEquals(texts(lines), ["# why", "*.log", "a", "!keep.log"]);
  assertEquals(lines[3], { text: "!keep.log", origin: "set add", isGiven: false });
  const twice = changedLines(lines, { kind: "add", rule: "*.log" });
  // Spaces at the end mean nothing.
  assertEquals(texts(changedLines(twice, { kind: "remove", rule: "*.log  " })), ["# why", "a", "!keep.log"]);
});

Deno.test("changedLines() refuses what is no rule, and to remove what is not there", () => {
  for (const rule of ["", "  ", "# a", "!", "size>x"]) {
    assertThrows(() => changedLines([], { kind: "add", rule }), UsageError);
  }
  const error = assertThrows(() => changedLines(given("a"), { kind: "remove", rule: "b" }), CommandError);
  assertEquals(error.message, 'Cannot remove rule "b": the set has no such rule');
});

Deno.test("changedLines() takes what is imported in place of everything", () => {
  const lines = changedLines(given("a"), { kind: "import", lines: ["# x", "b"], origin: 'file "/r"' });
  assertEquals(texts(lines), ["# x", "b"]);
  assertEquals(placedRules(lines).map(({ lineNumber, rule }) => [lineNumber, rule.text]), [[2, "b"]]);
});

Deno.test("exchangeGiven() leaves what was added later where it was, behind", () => {
  const later: SetLine = { text: "!x", origin: "set add", isGiven: false };
  const lines = exchangeGiven([...given("a", "b"), later], given("c"));
  assertEquals(texts(lines), ["c", "!x"]);
});

Deno.test("a file of rules is read and written byte by byte, and comments stay", () => {
  const bytes = Uint8Array.of(...utf8("# why\n\n*.log\n!\\#a \nd"), 0xff, 0x0a);
  const lines = parseRuleFile(bytes, "f");
  assertEquals(lines, ["# why", "", "*.log", "!\\#a ", "d\udcff"]);
  assertEquals(formatRuleFile(lines.map((text) => ({ text }))), bytes);
  assertEquals(parseRuleFile(utf8("\u{feff}a\r\nb"), "f"), ["a", "b"]);
  assertEquals(parseRuleFile(utf8(""), "f"), []);
});

Deno.test("parseRuleFile() names the line that it cannot read", () => {
  const error = assertThrows(() => parseRuleFile(utf8("a\nage>x\n"), "/r"), UsageError);
  assertEquals(
    error.message,
    'Cannot use "/r": line 2: Cannot read rule "age>x": column 5: ' +
      "it must be a whole number with ms, s, m, h or d behind it as in 30s",
  );
});
