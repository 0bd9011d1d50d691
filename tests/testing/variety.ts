/**
 * A tree of everything that a file can be, made by the programs that users make it with. For root on Linux.
 * @module
 */
import { runProcess } from "./process.ts";

/** Runs lines of a shell in the source, with an `xattr` to set any attribute of any entry. */
export async function varietyShell(directory: string, lines: string): Promise<void> {
  const xattr = `xattr() { python3 -c 'import os, sys
path, name, value = map(os.fsencode, sys.argv[1:4])
if value == b"-": os.removexattr(path, name, follow_symlinks=False)
else: os.setxattr(path, name, value.decode("unicode_escape").encode("latin-1"), follow_symlinks=False)' "$@"; }`;
  await runProcess("bash", ["-ec", `cd "$1"; ${xattr}\n${lines}`, "bash", directory], { expectCode: 0 });
}

/** Makes a directory with all of it in it. */
const VARIETY = String.raw`
mkdir -p $at; cd $at
echo 1 > plain; printf 1 > suid; chown 1:2 suid; chmod 4751 suid; printf 2 > sgid; chown 3:4 sgid; chmod 2710 sgid
mkdir sticky; chmod 1777 sticky; mkdir setgid; chown 0:7 setgid; chmod 2775 setgid; echo x > setgid/in
touch -d '1969-12-31 23:59:58.123456789 UTC' old; touch -h -d '2001-02-03 04:05:06.789 UTC' old
ln -s nowhere link; touch -h -d '1999-01-01 00:00:00.000000001 UTC' link; chown -h 11:12 link; xattr link trusted.l 'of a link'
xattr plain user.comment 'two words'; xattr plain user.empty ''; xattr plain user.bytes '\x00\xff\x0a'; xattr plain trusted.t 1
xattr plain security.made-up 'kept'; xattr plain $'user.\xfe' 'raw name'
printf data > acl; setfacl -m u:1234:rw,g:55:r acl; printf data > capable; setcap cap_net_raw+ep capable
mkdir acls; setfacl -m u:99:rwx acls; setfacl -d -m u:1234:rwx,g:55:rx acls; xattr acls user.of-directory 1
echo inherits > acls/in; mkdir acls/deeper; echo inherits > acls/deeper/in; mkdir acls/bare; setfacl -b -k acls/bare
head -c 3000000 /dev/urandom > large; chown 5:6 large; setcap cap_chown+i large; xattr large user.large yes; setfacl -m u:77:r large
mkfifo -m 640 fifo; xattr fifo trusted.f 1; mknod null c 1 3; mknod disk b 7 300; chown 9:9 disk; setfacl -m u:5:r null
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'; chmod 711 socket
ln large twin; ln link twin-link; ln fifo twin-fifo; ln null twin-null; mkdir names; echo 1 > names/a; ln names/a names/b; ln names/a c
truncate -s 600000 holes; printf end >> holes; printf middle | dd of=holes bs=1 seek=300000 conv=notrunc status=none
# rsync leaves times alone that differ within a second only.
touch -d '2010-10-10 10:10:10.101010101 UTC' null disk fifo socket names acls sticky setgid .
`;

/** Makes a tree of all of it, three levels deep. */
export async function makeVariety(directory: string): Promise<void> {
  for (const at of [".", "a", "a/b"]) await varietyShell(directory, `at=${at}\n${VARIETY}`);
}
