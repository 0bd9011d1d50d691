import { assertEquals, assertThrows } from "@std/assert";
import { resolve } from "node:path";
import { UsageError } from "../../src/base/errors.ts";
import { formatTargetName, parseTargetName, type TargetName } from "../../src/modes/target_name.ts";

const parse = (text: string) => parseTargetName(text, { home: "/home/a" });
const server = (hostname: string, port: number, name: string): TargetName => ({
  kind: "server",
  hostname,
  port,
  name,
});

Deno.test("parseTargetName() knows a directory by its beginning", () => {
  const table: [string, string][] = [
    ["/", "/"],
    ["/srv/replica/", "/srv/replica"],
    ["./replica", resolve("replica")],
    ["../replica", resolve("../replica")],
    [".", resolve(".")],
    ["..", resolve("..")],
    ["~", "/home/a"],
    ["~/replica", "/home/a/replica"],
    ["./host:7420/name", resolve("host:7420/name")],
    ["./us1-x", resolve("us1-x")],
  ];
  for (const [text, path] of table) assertEquals(parse(text), { kind: "directory", path }, text);
});

Deno.test("parseTargetName() knows a replica on a server", () => {
  const table: [string, TargetName][] = [
    ["backup/www", server("backup", 7420, "www")],
    ["backup:1/www", server("backup", 1, "www")],
    ["backup/www/", server("backup", 7420, "www")],
    ["understudy://backup.example.org/www-1", server("backup.example.org", 7420, "www-1")],
    ["understudy://backup:65535/www", server("backup", 65_535, "www")],
    ["[2001:db8::1]/www", server("2001:db8::1", 7420, "www")],
    ["understudy://[::1]:99/www", server("::1", 99, "www")],
    ["127.0.0.1:7420/www", server("127.0.0.1", 7420, "www")],
  ];
  for (const [text, target] of table) assertEquals(parse(text), target, text);
});

Deno.test("parseTargetName() knows a join token", () => {
  assertEquals(parse("us1-AbC_-9"), { kind: "token", token: "us1-AbC_-9" });
});

Deno.test("parseTargetName() says why a name is none, and which forms there are", () => {
  const table: [string, string][] = [
    ["", "none of these forms"],
    ["replica", "none of these forms"],
    ["backup:7420", "none of these forms"],
    ["~other/x", `"~other" is not a host name`],
    ["http://backup/www", "only understudy:// is known"],
    ["understudy://", "the name of the replica is missing"],
    ["understudy://backup", "the name of the replica is missing"],
    ["backup/", "the name of the replica is missing"],
    ["backup/a/b", "without a slash"],
    ["backup:0/www", "from 1 to 65535"],
    ["backup:x/www", "from 1 to 65535"],
    ["::1/www", "in brackets"],
    ["understudy:///www", "the host is missing"],
    ["a b/www", "not a host name"],
  ];
  for (const [text, reason] of table) {
    const { message } = assertThrows(() => parse(text), UsageError, reason, text);
    assertEquals(message.endsWith("or a join token (us1-…)"), true, message);
  }
  assertThrows(
    () => parse("backup/.understudy"),
    UsageError,
    `Cannot use target "backup/.understudy": ".understudy"`,
  );
  assertThrows(() => parseTargetName("~/x"), UsageError, "HOME is not set");
});

Deno.test("formatTargetName() is read back, but never shows a token", () => {
  for (const text of ["/srv/replica", "backup:7420/www", "[::1]:99/www"]) {
    assertEquals(formatTargetName(parse(text)), text);
  }
  assertEquals(formatTargetName(parse("us1-secret")), "us1-…");
});
