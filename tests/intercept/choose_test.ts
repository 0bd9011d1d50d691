import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import { chooseInterceptor } from "../../src/intercept/choose.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";

const options = { root: "/", onHints: () => {} };

Deno.test({
  name: "chooseInterceptor() takes fanotify by itself where it works, and says so",
  ignore: lacks("linux", "root"),
  async fn() {
    await using place = await tempDirectory();
    const { interceptor, reason } = chooseInterceptor("auto", { ...options, root: place.path });
    assertEquals([interceptor.name, interceptor.lossy], ["fanotify", false]);
    assertEquals(reason, "the best one that works here");
  },
});

Deno.test({
  name:
    "chooseInterceptor() takes inotify where a file system refuses fanotify, says why, and refuses that by name",
  ignore: lacks("linux", "root"),
  fn() {
    const root = "/proc/self";
    const { interceptor, reason } = chooseInterceptor("auto", { ...options, root });
    assertEquals(interceptor.name, "inotify");
    assertEquals(
      reason.startsWith('fanotify does not work here: Cannot take a handle of "/proc/self": '),
      true,
      reason,
    );
    const error = assertThrows(() => chooseInterceptor("fanotify", { ...options, root }), UsageError);
    assertEquals(error.message, `Cannot intercept by "fanotify": ${reason.slice(reason.indexOf("Cannot"))}`);
  },
});

Deno.test({
  name: "chooseInterceptor() takes inotify where the user is not root, and says why",
  ignore: lacks("linux", "root", "command setpriv"),
  async fn() {
    const program = `
      import { chooseInterceptor } from ${
      JSON.stringify(new URL("../../src/intercept/choose.ts", import.meta.url))
    };
      const { interceptor, reason } = chooseInterceptor("auto", { root: "/tmp", onHints() {} });
      console.log(JSON.stringify([interceptor.name, reason]));`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = [
      "--bounding-set=-all",
      "--inh-caps=-all",
      Deno.execPath(),
      "eval",
      "--config",
      config,
      program,
    ];
    const { stdout } = await runProcess("setpriv", args, { expectCode: 0 });
    const [name, reason] = JSON.parse(stdout);
    assertEquals(name, "inotify");
    assertEquals(
      reason,
      'fanotify does not work here: Cannot watch with "fanotify": only root may ' +
        "(CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH) (EPERM)",
    );
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
