import { assert } from "@std/assert";
import { yieldToSockets } from "../../src/base/clock.ts";

Deno.test("yieldToSockets() lets what came over a socket, and timers, have their turn between slices of work", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  using near = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using far = await accepted;
  const turns: number[] = [];
  for (let round = 0; round < 15; round++) {
    let heard = false;
    let rang = false;
    const reading = near.read(new Uint8Array(1)).then(() => heard = true);
    const timer = setTimeout(() => rang = true, 1);
    await far.write(Uint8Array.of(1));
    let turn = 0;
    for (; turn < 100 && !(heard && rang); turn++) {
      const sliceEnd = performance.now() + 2;
      while (performance.now() < sliceEnd);
      await yieldToSockets();
    }
    turns.push(turn);
    clearTimeout(timer);
    await reading;
  }
  assert(Math.max(...turns) <= 5, `turns until heard: ${turns.join(" ")}`);
});
