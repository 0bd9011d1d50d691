import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import { chooseInterceptor } from "../../src/intercept/choose.ts";
import { lacks } from "../testing/needs.ts";
import { tempDirectory } from "../testing/temp.ts";

const options = { root: "/", onHints: () => {} };

Deno.test({
  name: "chooseInterceptor() takes inotify by itself where it works, and says so",
  ignore: lacks("linux"),
  fn() {
    const { interceptor, reason } = chooseInterceptor("auto", options);
    assertEquals([interceptor.name, interceptor.lossy], ["inotify", false]);
    assertEquals(reason, "the best one that works here");
  },
});

Deno.test({
  name: "chooseInterceptor() takes fanotify by name, and refuses it with the reason where a file system does",
  ignore: lacks("linux", "root"),
  async fn() {
    await using place = await tempDirectory();
    const { interceptor, reason } = chooseInterceptor("fanotify", { ...options, root: place.path });
    assertEquals([interceptor.name, interceptor.lossy, reason], ["fanotify", false, "chosen by the user"]);
    const refused = () => chooseInterceptor("fanotify", { ...options, root: "/proc/self" });
    assertThrows(refused, UsageError, 'Cannot intercept by "fanotify": Cannot ');
  },
});

Deno.test("chooseInterceptor() takes what was asked for", () => {
  const { interceptor } = chooseInterceptor("watchfs", options);
  assertEquals(interceptor.name, "watchfs");
  assertEquals(interceptor.lossy, true);
});

Deno.test("chooseInterceptor() refuses what is not built and what is not known", () => {
  const error = assertThrows(() => chooseInterceptor("fuse", options), UsageError);
  assertEquals(error.message, `Cannot intercept by "fuse": not built yet in this version`);
  assertThrows(
    () => chooseInterceptor("inotify2", options),
    UsageError,
    "known are auto, fanotify, inotify and watchfs",
  );
});
