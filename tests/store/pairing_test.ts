/**
 * The target's pairing store: invites, redeeming once, bindings.
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { join } from "node:path";
import { hex } from "../../src/base/bytes.ts";
import { CorruptionError, RefusedError, UsageError } from "../../src/base/errors.ts";
import { checkReplicaName, PairingStore, type PairingVerdict } from "../../src/store/pairing.ts";

const HOUR = 3_600_000;
const NOW = 1_800_000_000_000;
const keyA = new Uint8Array(32).fill(0xaa);
const keyB = new Uint8Array(32).fill(0xbb);

function withStore(run: (store: PairingStore, directory: string) => void): void {
  const root = Deno.makeTempDirSync();
  try {
    const directory = join(root, "pairing");
    run(new PairingStore(directory), directory);
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

function granted(verdict: PairingVerdict): Extract<PairingVerdict, { psk: Uint8Array }> {
  if ("refuse" in verdict) throw new Error(`expected a grant, not: ${verdict.refuse}`);
  return verdict;
}

function refusedFor(verdict: PairingVerdict): string {
  if ("psk" in verdict) throw new Error("expected a refusal");
  return verdict.refuse;
}

/** Pairs `key` with `name` and gives the token's id. */
function pair(store: PairingStore, name: string, key: Uint8Array): Uint8Array {
  const { tokenId } = store.createInvite(name, { expiresMs: HOUR, nowMs: NOW });
  granted(store.authorize({ name, publicKey: key, tokenId, nowMs: NOW })).confirm();
  return tokenId;
}

Deno.test("PairingStore binds a key when its invite is redeemed, which then needs no token", () => {
  withStore((store) => {
    const { tokenId, secret, expiresAtMs } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW });
    assertEquals(expiresAtMs, NOW + HOUR);
    const verdict = granted(store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW }));
    assertEquals(hex(verdict.psk), hex(secret));
    verdict.confirm();
    assertEquals(store.boundKey("docs"), keyA);
    assertEquals(store.boundNames(), ["docs"]);
    const later = granted(store.authorize({ name: "docs", publicKey: keyA, nowMs: NOW + 100 * HOUR }));
    assertEquals(hex(later.psk), "00".repeat(32));
  });
});

Deno.test("authorize() alone binds nothing and uses no invite up", () => {
  withStore((store) => {
    const { tokenId } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW });
    granted(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW }));
    assertEquals(store.boundKey("docs"), undefined);
    granted(store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW })).confirm();
    assertEquals(store.boundKey("docs"), keyA);
  });
});

Deno.test("of two sources that redeem one invite at once, one wins", () => {
  withStore((store, directory) => {
    const { tokenId } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW });
    const other = new PairingStore(directory);
    const first = granted(store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW }));
    const second = granted(other.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW }));
    second.confirm();
    assertThrows(() => first.confirm(), RefusedError, "used already");
    assertEquals(store.boundKey("docs"), keyB);
  });
});

Deno.test("used, expired, unknown and foreign tokens are refused, each with its own reason", () => {
  withStore((store) => {
    const used = pair(store, "docs", keyA);
    const { tokenId } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW });
    const ask = (changes: object) =>
      refusedFor(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW, ...changes }));
    const reasons = [
      ask({ tokenId: used }),
      ask({ nowMs: NOW + HOUR }),
      ask({ tokenId: new Uint8Array(16) }),
      ask({ name: "photos" }),
    ];
    assertEquals(reasons, [
      "the join token is used already",
      "the join token is expired",
      "the join token is unknown to this target",
      "the join token is for another replica",
    ]);
    granted(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW + HOUR - 1 }));
  });
});

Deno.test("a source that did not hear of its success may repeat its token, another key may not", () => {
  withStore((store) => {
    const tokenId = pair(store, "docs", keyA);
    const again = granted(
      store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW + 5 * HOUR }),
    );
    assertNotEquals(hex(again.psk), "00".repeat(32));
    again.confirm();
    assertEquals(
      refusedFor(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW })),
      "the join token is used already",
    );
  });
});

Deno.test("a key opens its own replica only, and a stranger learns no names", () => {
  withStore((store) => {
    pair(store, "docs", keyA);
    pair(store, "photos", keyB);
    const reason = (name: string, publicKey: Uint8Array) =>
      refusedFor(store.authorize({ name, publicKey, nowMs: NOW })).replace(name, "NAME");
    assertEquals(reason("photos", keyA), reason("nothing", keyA));
    assertEquals(reason("docs", keyB), 'this source is not paired with replica "NAME"');
  });
});

Deno.test("a new invite leaves the old key bound until it is redeemed, then only the new key opens", () => {
  withStore((store) => {
    const oldToken = pair(store, "docs", keyA);
    const { tokenId } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW + 1 });
    granted(store.authorize({ name: "docs", publicKey: keyA, nowMs: NOW + 2 }));
    granted(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW + 2 })).confirm();
    granted(store.authorize({ name: "docs", publicKey: keyB, nowMs: NOW + 3 }));
    refusedFor(store.authorize({ name: "docs", publicKey: keyA, nowMs: NOW + 3 }));
    const reason = refusedFor(
      store.authorize({ name: "docs", publicKey: keyA, tokenId: oldToken, nowMs: NOW + 3 }),
    );
    assertEquals(reason, "the join token is used already, and another source was paired since");
    assertEquals(store.boundKey("docs"), keyB);
  });
});

Deno.test("target dies between claim and binding: the same source ends the work, nobody else", () => {
  withStore((store, directory) => {
    const { tokenId, secret } = store.createInvite("docs", { expiresMs: HOUR, nowMs: NOW });
    const claim = {
      name: "docs",
      secret: secret.toBase64({ alphabet: "base64url", omitPadding: true }),
      publicKey: keyA.toBase64({ alphabet: "base64url", omitPadding: true }),
      claimedAtMs: NOW,
    };
    Deno.writeTextFileSync(join(directory, "claims", `${hex(tokenId)}.json`), JSON.stringify(claim));
    assertEquals(
      refusedFor(store.authorize({ name: "docs", publicKey: keyB, tokenId, nowMs: NOW })),
      "the join token is used already",
    );
    assertEquals(store.boundKey("docs"), undefined);
    granted(store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW }));
    assertEquals(store.boundKey("docs"), keyA);
    assertEquals([...Deno.readDirSync(join(directory, "invites"))], []);
  });
});

Deno.test("an invite made by another process is seen at once", async () => {
  const root = Deno.makeTempDirSync();
  try {
    const store = new PairingStore(root);
    const module = new URL("../../src/store/pairing.ts", import.meta.url).href;
    const script = `import { PairingStore } from ${JSON.stringify(module)};
      const invite = new PairingStore(${
      JSON.stringify(root)
    }).createInvite("docs", { expiresMs: 1000, nowMs: ${NOW} });
      console.log(invite.tokenId.toHex());`;
    const { stdout, success } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", script],
      stderr: "inherit",
    }).output();
    assert(success);
    const tokenId = Uint8Array.fromHex(new TextDecoder().decode(stdout).trim());
    granted(store.authorize({ name: "docs", publicKey: keyA, tokenId, nowMs: NOW })).confirm();
    assertEquals(store.boundKey("docs"), keyA);
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

Deno.test("invites, claims and bindings are for their owner alone, and no temporary file stays", () => {
  withStore((store, directory) => {
    pair(store, "docs", keyA);
    store.createInvite("photos", { expiresMs: HOUR, nowMs: NOW });
    for (const name of ["invites", "claims", "keys"]) {
      const path = join(directory, name);
      assertEquals(Deno.statSync(path).mode! & 0o777, 0o700);
      const entries = [...Deno.readDirSync(path)];
      assertEquals(entries.length, 1, `one file in ${name}`);
      assertEquals(Deno.statSync(join(path, entries[0].name)).mode! & 0o777, 0o600);
    }
  });
});

Deno.test("createInvite() forgets invites and claims of more than a month ago", () => {
  withStore((store, directory) => {
    const used = pair(store, "docs", keyA);
    store.createInvite("photos", { expiresMs: HOUR, nowMs: NOW });
    const later = NOW + 40 * 24 * HOUR;
    store.createInvite("films", { expiresMs: HOUR, nowMs: later });
    assertEquals([...Deno.readDirSync(join(directory, "invites"))].length, 1);
    assertEquals([...Deno.readDirSync(join(directory, "claims"))].length, 0);
    assertEquals(
      refusedFor(store.authorize({ name: "docs", publicKey: keyA, tokenId: used, nowMs: later })),
      "the join token is unknown to this target",
    );
    granted(store.authorize({ name: "docs", publicKey: keyA, nowMs: later }));
  });
});

Deno.test("a corrupt binding is said, never taken for no binding", () => {
  withStore((store, directory) => {
    pair(store, "docs", keyA);
    const path = join(directory, "keys", "docs.json");
    for (const text of ["{", "{}", JSON.stringify({ name: "docs", publicKey: "AAAA", pairedAtMs: 1 })]) {
      Deno.writeTextFileSync(path, text);
      assertThrows(() => store.authorize({ name: "docs", publicKey: keyA, nowMs: NOW }), CorruptionError);
    }
  });
});

Deno.test("checkReplicaName() takes 1 to 64 plain characters and no name that leaves the root", () => {
  for (const name of ["a", "docs", "A-b_c.9", "-", "a".repeat(64), "a..b"]) checkReplicaName(name);
  const bad = ["", ".", "..", ".understudy", "a/b", "../a", "a\\b", "a b", "ä", "a\n", "a\0", "a".repeat(65)];
  for (const name of bad) {
    assertThrows(() => checkReplicaName(name), UsageError, "Cannot use replica name");
    withStore((store) => {
      refusedFor(store.authorize({ name, publicKey: keyA, nowMs: NOW }));
      assertThrows(() => store.createInvite(name, { expiresMs: HOUR, nowMs: NOW }), UsageError);
    });
  }
  for (const name of ["pairing", "key", "listen", "server.lock", "control.sock"]) {
    assertThrows(() => checkReplicaName(name), UsageError, "keeps its own state under it");
  }
});
