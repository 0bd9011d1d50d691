import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { CommandError } from "../../src/base/errors.ts";
import { formatAddress } from "../../src/base/address.ts";
import type { TargetStatus } from "../../src/base/status.ts";
import { fetchStatus, serveHttp } from "../../src/control/http.ts";

const status: TargetStatus = { role: "target", version: "1", root: "/r", listen: "h:1", replicas: [] };
const address = { hostname: "127.0.0.1", port: 0 };

Deno.test("serveHttp() answers GET /status with the status of now, and fetchStatus() reads it", async () => {
  let asked = 0;
  await using server = serveHttp({
    address,
    status: () => Promise.resolve({ ...status, version: String(++asked) }),
  });
  assertEquals((await fetchStatus(server.address)).version, "1");
  assertEquals((await fetchStatus(server.address)).version, "2");
});

Deno.test("serveHttp() refuses every other path, method and host name", async () => {
  await using server = serveHttp({ address, status: () => Promise.resolve(status) });
  const base = `http://${formatAddress(server.address)}`;
  const codeOf = async (path: string, init?: RequestInit) => {
    const response = await fetch(base + path, init);
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await codeOf("/status?x=1"), 200);
  assertEquals(await codeOf("/status", { method: "HEAD" }), 200);
  for (const path of ["/", "/status/", "/statuses", "/%73tatus/..//etc"]) {
    assertEquals(await codeOf(path), 404, path);
  }
  assertEquals(await codeOf("/status", { method: "POST", body: "x" }), 405);
  assertEquals(await codeOf("/status", { method: "DELETE" }), 405);
  assertStringIncludes(await requestAs(server.address.port, "evil.example"), "HTTP/1.1 403");
  assertStringIncludes(await requestAs(server.address.port, "localhost"), "HTTP/1.1 200");
});

Deno.test("serveHttp() tells why the status cannot be had", async () => {
  await using server = serveHttp({
    address,
    status: () => Promise.reject(new CommandError("Cannot tell: broken")),
  });
  await assertRejects(() => fetchStatus(server.address), CommandError, "Cannot read the status of");
});

Deno.test("serveHttp() says that a port is in use", async () => {
  await using server = serveHttp({ address, status: () => Promise.resolve(status) });
  assertThrows(
    () => serveHttp({ address: server.address, status: () => Promise.resolve(status) }),
    CommandError,
    `Cannot listen on "${formatAddress(server.address)}": the port is in use`,
  );
});

Deno.test("fetchStatus() refuses what is no understudy, and says where nothing listens", async () => {
  await using other = Deno.serve({ ...address, onListen() {} }, () => new Response("<html>"));
  const { hostname, port } = other.addr;
  await assertRejects(
    () => fetchStatus({ hostname, port }),
    CommandError,
    "what answers there is no understudy",
  );
  const free = Deno.listen(address);
  const nobody = { hostname: "127.0.0.1", port: (free.addr as Deno.NetAddr).port };
  free.close();
  await assertRejects(
    () => fetchStatus(nobody),
    CommandError,
    `Cannot read the status of "${formatAddress(nobody)}"`,
  );
});

/** Asks by hand, since `fetch` chooses the Host header itself. */
async function requestAs(port: number, host: string): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(
    new TextEncoder().encode(`GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
  );
  return await new Response(conn.readable).text();
}
