import { assertEquals, assertRejects } from "@std/assert";
import { waitFor } from "./wait.ts";

Deno.test("waitFor() returns the first value that is one", async () => {
  const values = [undefined, null, false, 0];
  assertEquals(await waitFor(() => values.shift(), { what: "a value" }), 0);
});

Deno.test("waitFor() takes an error for not yet, and names it when the time is over", async () => {
  let calls = 0;
  const flaky = () => {
    if (++calls < 3) throw new Error("not there");
    return calls;
  };
  assertEquals(await waitFor(flaky, { what: "the third call" }), 3);
  const broken = () => {
    throw new Error("never there");
  };
  await assertRejects(
    () => waitFor(broken, { what: "the moon", timeoutMs: 20 }),
    Error,
    "Cannot wait for the moon: not within 20 ms, last Error: never there",
  );
});
