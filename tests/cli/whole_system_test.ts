/**
 * Goal: a whole system can be the source, with its target, our state and everything that the kernel mounts inside it.
 * Method: a small root of its own (tmpfs) in a mount namespace, with programs mounted into it; the built executable runs
 * in it by chroot(1).
 */
import { assertEquals } from "@std/assert";
import { dirname } from "node:path";
import { lacks } from "../testing/needs.ts";
import { runProcess } from "../testing/process.ts";
import { tempDirectory } from "../testing/temp.ts";
import { understudyCommand } from "../testing/understudy.ts";

// Only the built executable can be taken along into another root.
const ignore = Deno.env.get("UNDERSTUDY_TEST_SOURCE") === "1" || lacks("linux", "root", "command unshare");

/** Makes the root at $1 and runs what is told in it; $2 is the directory of the executable. */
const MAKE_ROOT = `
  mount -t tmpfs -o size=200m none "$1"; cd "$1"
  mkdir -p usr proc sys dev run tmp etc/a home/u srv/disk backup state app root
  for name in bin sbin lib lib32 lib64; do
    if [ -L "/$name" ]; then cp -P "/$name" "$name"; elif [ -d "/$name" ]; then mkdir "$name"; mount --bind "/$name" "$name"; fi
  done
  mount --bind /usr usr; mount --bind "$2" app; mount -t proc proc proc
  mount --bind /dev dev; mount -t tmpfs none srv/disk
  echo 1 >etc/a/f; echo 1 >home/u/f; echo 1 >srv/disk/f; echo 1 >top; ln -s top link
`;

/** Runs a script in a root of its own. */
async function inOwnRoot(script: string): Promise<string> {
  const { command, env } = await understudyCommand();
  await using directory = await tempDirectory();
  const name = command.slice(dirname(command).length + 1);
  const inside = `
    export UNDERSTUDY_CACHE_DIR=/run/cache HOME=/root
    names() { (cd /backup && find . -mindepth 1 \\\\( -type d -printf '%P/ ' -o -printf '%P ' \\\\) | tr ' ' '\\\\n' | LC_ALL=C sort | tr '\\\\n' ' '); echo; }
    APP=/app/${name}
    u() { $APP "$@" --state /state; }
    ${script}
  `.replaceAll("\\\\", "\\");
  const { stdout } = await runProcess("unshare", [
    "-m",
    "--propagation",
    "private",
    "sh",
    "-ec",
    `${MAKE_ROOT}\nexec chroot "$1" /bin/sh -ec "$3"`,
    "sh",
    directory.path,
    dirname(command),
    inside,
  ], { env, expectCode: 0, timeoutMs: 240_000 });
  return stdout;
}

Deno.test({
  name: "mirror of / with --one-file-system leaves out what is mounted, its target and our state",
  ignore,
  async fn() {
    const stdout = await inOwnRoot(`
      u mirror / /backup --one-file-system --exclude /run --exclude /lib32 >/dev/null
      names
    `);
    const found = stdout.trim().split(" ").filter((path) =>
      path !== "" && !/^(bin|sbin|lib|lib64)\/?$/.test(path)
    );
    // Mount points stay, empty.
    assertEquals(
      found.join(" "),
      "app/ dev/ etc/ etc/a/ etc/a/f home/ home/u/ home/u/f link proc/ root/ srv/ srv/disk/ sys/ tmp/ top usr/",
    );
  },
});

Deno.test({
  name: "watch-source of / replicates the locations that were included, and follows them alone",
  ignore,
  async fn() {
    const stdout = await inOwnRoot(`
      $APP watch-source / --to /backup --include /etc --include /home/u --include /srv --include /backup \\
        --include /proc --state /state >/run/out 2>&1 &
      P=$!; trap 'kill -9 $P' EXIT
      for i in $(seq 1200); do grep -q live /run/out && break; sleep 0.1; done
      cat /run/out
      echo 2 >etc/a/g; mkdir -p home/u/new/er; echo 2 >home/u/new/er/f; echo 2 >srv/disk/g; echo 2 >tmp/x; echo 2 >home/x
      u flush --timeout 100s
      names
      u explain /proc/1/stat; u explain /backup/x; u explain /tmp/x
      trap - EXIT; kill $P; wait $P
    `);
    assertEquals(stdout.split("\n").map((line) => line.trim()), [
      "live",
      "etc/ etc/a/ etc/a/f etc/a/g home/ home/u/ home/u/f home/u/new/ home/u/new/er/ home/u/new/er/f proc/ srv/ srv/disk/ srv/disk/f srv/disk/g",
      '"/proc/1/stat": never replicated: it is the kernel\'s, not stored anywhere',
      'on "/backup": absent',
      '"/backup/x": never replicated: it is a target of this source',
      'on "/backup": absent',
      '"/tmp/x": excluded',
      'excluded by rule 1 "/" (command line), which matches "/"',
      'on "/backup": absent',
      "",
    ]);
  },
});
