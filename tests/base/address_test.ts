import { assertEquals, assertThrows } from "@std/assert";
import { formatAddress, isLoopback, parseAddress } from "../../src/base/address.ts";
import { UsageError } from "../../src/base/errors.ts";

Deno.test("parseAddress() reads every form, and formatAddress() writes it back", () => {
  const table: [string, string, number][] = [
    ["backup:7420", "backup", 7420],
    ["backup.example.org:1", "backup.example.org", 1],
    ["10.0.0.7:65535", "10.0.0.7", 65_535],
    ["[::1]:7420", "::1", 7420],
    ["[fe80::1%eth0]:7420", "fe80::1%eth0", 7420],
    ["my_host:80", "my_host", 80],
  ];
  for (const [text, hostname, port] of table) {
    assertEquals(parseAddress(text), { hostname, port });
    assertEquals(formatAddress({ hostname, port }), text);
  }
});

Deno.test("parseAddress() fills in the defaults that it is given, and only those", () => {
  assertEquals(parseAddress("backup", { port: 7420 }), { hostname: "backup", port: 7420 });
  assertEquals(parseAddress("[::1]", { port: 7420 }), { hostname: "::1", port: 7420 });
  assertEquals(parseAddress(":80", { hostname: "127.0.0.1" }), { hostname: "127.0.0.1", port: 80 });
  assertEquals(parseAddress(":0", { hostname: "127.0.0.1", anyPort: true }), {
    hostname: "127.0.0.1",
    port: 0,
  });
  assertThrows(() => parseAddress("backup"), UsageError, "the port is missing");
  assertThrows(() => parseAddress(":80"), UsageError, "the host is missing");
});

Deno.test("parseAddress() refuses what is not an address and says why", () => {
  const table: [string, string][] = [
    ["backup:0", "from 1 to 65535"],
    ["backup:65536", "from 1 to 65535"],
    ["backup:", "the port is missing"],
    ["[::1]:", "the port is missing"],
    ["backup:http", "from 1 to 65535"],
    ["backup:-1", "from 1 to 65535"],
    ["::1:7420", "in brackets"],
    ["[backup]:80", "not an IPv6 address"],
    ["[::1]80", "in brackets"],
    ["-x:80", "not a host name"],
    ["a b:80", "not a host name"],
    ["a/b:80", "not a host name"],
    ["a..b:80", "not a host name"],
  ];
  for (const [text, reason] of table) {
    assertThrows(() => parseAddress(text), UsageError, reason);
  }
});

Deno.test("isLoopback() knows this machine from others", () => {
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1"]) {
    assertEquals(isLoopback(host), true, host);
  }
  for (const host of ["0.0.0.0", "::", "128.0.0.1", "127.0.0.1.example.org"]) {
    assertEquals(isLoopback(host), false, host);
  }
});
