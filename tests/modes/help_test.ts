import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import { commands, laterCommands } from "../../src/modes/commands.ts";
import { findCommand, overview, run } from "../../src/modes/help.ts";
import { run as runVersion } from "../../src/modes/version.ts";
import project from "../../deno.json" with { type: "json" };
import { testIo } from "../testing/test_io.ts";

Deno.test("overview() names every command", () => {
  for (const name of Object.keys(commands)) assertStringIncludes(overview(), `\n  ${name} `);
});

for (const [name, command] of Object.entries(commands)) {
  Deno.test(`help ${name} shows usage, in lines that fit a terminal`, async () => {
    const io = testIo();
    assertEquals(await run([name], io), 0);
    assertEquals(io.out.stdout, await command.loadHelp());
    assert(io.out.stdout.startsWith(`Usage: understudy ${name}`));
    assert(io.out.stdout.endsWith("\n"));
    for (const line of io.out.stdout.split("\n")) assert(line.length <= 120, line);
  });
}

Deno.test("help refuses an unknown command, one of a later version, and a second one", async () => {
  const message = async (...args: string[]) =>
    (await assertRejects(() => run(args, testIo()), UsageError)).message;
  assertEquals(await message("miror"), `Cannot run "miror": there is no such command; did you mean "mirror"`);
  assertEquals(await message("xyzzy"), `Cannot run "xyzzy": there is no such command; see "understudy help"`);
  assertEquals(
    await message("toString"),
    `Cannot run "toString": there is no such command; see "understudy help"`,
  );
  assertEquals(await message("mirror", "restore"), `Cannot run "help": "restore" is one argument too many`);
  for (const name of laterCommands) {
    assertEquals(await message(name), `Cannot run "${name}": not in this version`);
  }
});

Deno.test("findCommand() knows no command that is also of a later version", () => {
  for (const name of laterCommands) assert(!Object.hasOwn(commands, name), name);
  assertEquals(findCommand("status"), commands.status);
});

Deno.test("version prints what deno.json says", async () => {
  const io = testIo();
  assertEquals(await runVersion([], io), 0);
  assertEquals(io.out.stdout, `understudy ${project.version}\n`);
  const json = testIo();
  await runVersion(["--json"], json);
  assertEquals(JSON.parse(json.out.stdout).version, project.version);
});
