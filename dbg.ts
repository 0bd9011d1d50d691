import { openReplication } from "/work/main/tests/testing/replication.ts";
import { runProcess } from "/work/main/tests/testing/process.ts";
const sh = (d: string, s: string) => runProcess("bash", ["-ec", `cd "$1"; ${s}`, "bash", d], { expectCode: 0 });
const GROUPS = `
  mkdir -p a/b c; echo small > small; ln small a/small; ln small c/small
  head -c 3000000 /dev/urandom > large; ln large a/b/large; : > empty; ln empty c/empty; cp large alone
  ln -s small link; ln link a/link; mkfifo fifo; ln fifo c/fifo; echo o > c/one; ln c/one c/two`;


await using r = await openReplication();
await sh(r.source, GROUPS);
await r.watch(["--intercept", Deno.args[0]]);
await r.flush();
const show = async () => console.log((await sh(r.replica, "find . -type f -name 'empty*' -printf '%i %n %p\\n' | sort")).stdout.replaceAll("\n", " | "));
await show();
      const steps = [
        "echo more >> a/small; printf X | dd of=large bs=1 seek=1000000 conv=notrunc status=none",
        "chmod 600 c/small; touch -d 2001-01-01 a/b/large; touch -h -d 2002-02-02 a/link; chmod 640 fifo",
        "ln small new; ln large c/large; ln alone a/alone; echo x > x; ln x y; ln a/link c/link",
        "rm small; rm a/b/large; mv a/small a/moved; mv c/two c/three; mv c d",
        // A name leaves its file, and both go on.
        "cp d/large t; mv t large; printf Y | dd of=d/large bs=1 seek=5 conv=notrunc status=none; cp x t; mv t x; echo z >> y",
        "printf Z | dd of=large bs=1 seek=2000000 conv=notrunc status=none; ln -f large alone; ln -f y x; ln -sf gone a/link",
        "ln d/large back; rm d/large large; mv back large; echo 1 > p; echo 2 > q; ln p r; ln q s; ln -f p s; ln -f q r",
        "for i in 1 2 3 4 5 6 7 8 9; do ln p n$i; done; echo more >> n5; rm n1 n3; mv n2 m2; ln -f m2 n6; cp n7 t; mv t n8; echo 9 >> n9",
        "cp -al d e; echo new >> e/one; rm -r d; mv e/small e/renamed; cp -a e f; echo f >> f/one; mv f/one e/one",
      ];

for (const s of steps) { console.log(s); await sh(r.source, s); await r.flush(); await show(); await r.assertEqual({hardLinks: true}).catch((e) => console.log(String(e).slice(0, 500))); }
await r.stopWatching();
await show();
await sh(r.source, "ln large restart; echo r >> p; cp y t; mv t y; rm n9; ln n7 n10");
r.watch(["--intercept", Deno.args[0]]).catch(()=>{});
for (let i=0;i<4;i++) {await new Promise((go)=>setTimeout(go,2500)); const s = await r.sourceStatus().catch(()=>undefined); console.log(JSON.stringify(s?.targets?.[0]?.opsSent), s?.targets?.[0]?.state, JSON.stringify(s?.problems), JSON.stringify(s?.targets?.[0]).slice(0,900)); }
await show();
console.log(JSON.stringify((await r.laneStatus()).opsSent));
